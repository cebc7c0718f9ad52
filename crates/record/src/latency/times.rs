//! Durations: a short list, then an HDR histogram.

use std::borrow::Cow;

use hdrhistogram::Histogram;

/// Durations in nanoseconds: a list while there are few, as with the routes that a scanner makes up.
#[derive(Clone)]
pub(crate) enum Times {
    Few(Vec<u64>),
    Many { histogram: Box<Histogram<u64>>, min: u64, max: u64 },
}

impl Default for Times {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Times {
    pub(crate) fn add(&mut self, nanos: u64) {
        match self {
            Self::Many { histogram, min, max } => {
                histogram.saturating_record(nanos);
                (*min, *max) = (nanos.min(*min), nanos.max(*max));
            }
            Self::Few(list) => {
                list.push(nanos);
                if list.len() >= FEW
                    && let Some(many) = Self::many(list)
                {
                    *self = many;
                }
            }
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        match other {
            Self::Few(list) => list.iter().for_each(|nanos| self.add(*nanos)),
            Self::Many { histogram: theirs, min: their_min, max: their_max } => match self {
                Self::Many { histogram, min, max } => {
                    // Both have the same bounds, so that there is nothing that could not be added.
                    let _ = histogram.add(theirs.as_ref());
                    (*min, *max) = ((*min).min(*their_min), (*max).max(*their_max));
                }
                Self::Few(list) => {
                    let list = std::mem::take(list);
                    *self = other.clone();
                    list.into_iter().for_each(|nanos| self.add(nanos));
                }
            },
        }
    }

    /// How many.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Few(list) => list.len() as u64,
            Self::Many { histogram, .. } => histogram.len(),
        }
    }

    /// `None` if there are no times.
    pub(crate) fn histogram(&self) -> Option<Cow<'_, Histogram<u64>>> {
        match self {
            Self::Few(list) if list.is_empty() => None,
            Self::Few(list) => match Self::many(list) {
                Some(Self::Many { histogram, .. }) => Some(Cow::Owned(*histogram)),
                _ => None,
            },
            Self::Many { histogram, .. } => Some(Cow::Borrowed(histogram)),
        }
    }

    /// The shortest and the longest, exactly.
    pub(crate) fn range(&self) -> Option<(u64, u64)> {
        match self {
            Self::Few(list) => list.iter().copied().min().zip(list.iter().copied().max()),
            Self::Many { min, max, .. } => Some((*min, *max)),
        }
    }

    fn many(list: &[u64]) -> Option<Self> {
        // The bounds are constants that the constructor takes; if it did not, times would stay in the list.
        let mut histogram =
            Box::new(Histogram::new_with_bounds(MIN_NANOS, MAX_NANOS, SIGNIFICANT_DIGITS).ok()?);
        list.iter().for_each(|nanos| histogram.saturating_record(*nanos));
        let range = list.iter().copied().min().zip(list.iter().copied().max());
        let (min, max) = range?;
        Some(Self::Many { histogram, min, max })
    }
}

/// From so many times on there is a histogram, of which there are 4,608 counters of 8 bytes. The list has half of its
/// size at most, and is written from front to back, while each time put into a histogram is likely to wait for
/// memory.
const FEW: usize = 2_304;

/// Exact to the same part at any length. An hour is longer than any client waits; what is longer counts as one.
const MIN_NANOS: u64 = 1;
const MAX_NANOS: u64 = 3_600_000_000_000;
/// An error of at most 1 %. Three digits would take eight times the memory.
const SIGNIFICANT_DIGITS: u8 = 2;
