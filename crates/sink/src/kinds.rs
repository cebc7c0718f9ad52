//! Kinds of events, and sets of them.

use std::fmt;

use gannet_http::HeadKind;

/// The kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// [`Event::Exchange`](crate::Event::Exchange).
    Exchange,
    /// [`Event::Head`](crate::Event::Head) of a request.
    RequestHead,
    /// [`Event::Head`](crate::Event::Head) of an interim response, which is all of it.
    InterimHead,
    /// [`Event::Head`](crate::Event::Head) of a final response.
    ResponseHead,
    /// [`Event::Message`](crate::Event::Message), a request.
    Request,
    /// [`Event::Message`](crate::Event::Message), a final response.
    Response,
    /// [`Event::Pending`](crate::Event::Pending).
    Pending,
    /// [`Event::Flow`](crate::Event::Flow).
    Flow,
    /// [`Event::RawHead`](crate::Event::RawHead).
    RawHead,
}

/// A set of kinds of events.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct EventKinds(u16);

impl EventKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Exchange,
        Self::RequestHead,
        Self::InterimHead,
        Self::ResponseHead,
        Self::Request,
        Self::Response,
        Self::Pending,
        Self::Flow,
        Self::RawHead,
    ];

    /// Of such a head.
    #[inline]
    pub fn of_head(kind: HeadKind) -> Self {
        match kind {
            HeadKind::Request => Self::RequestHead,
            HeadKind::Interim => Self::InterimHead,
            HeadKind::Response => Self::ResponseHead,
        }
    }

    /// Of a message with such a head. An interim response, which is over with its head, is told of as a head only.
    #[inline]
    pub fn of_message(kind: HeadKind) -> Self {
        match kind {
            HeadKind::Request => Self::Request,
            HeadKind::Interim => Self::InterimHead,
            HeadKind::Response => Self::Response,
        }
    }
}

impl EventKinds {
    /// None.
    pub const NONE: Self = Self(0);
    /// Exchanges only.
    pub const EXCHANGES: Self = Self::NONE.with(EventKind::Exchange);
    /// What whole messages are made of. An interim response is over with its head.
    pub const MESSAGES: Self =
        Self::NONE.with(EventKind::Request).with(EventKind::InterimHead).with(EventKind::Response);
    /// Flows only.
    pub const FLOWS: Self = Self::NONE.with(EventKind::Flow);
    /// Heads as bytes only.
    pub const RAW_HEADS: Self = Self::NONE.with(EventKind::RawHead);

    /// These and `kind`.
    pub const fn with(self, kind: EventKind) -> Self {
        Self(self.0 | 1 << kind as u8)
    }

    /// Those of either.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those of both.
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether `kind` is among them.
    #[inline]
    pub const fn contains(self, kind: EventKind) -> bool {
        self.0 & 1 << kind as u8 != 0
    }

    /// Its members.
    pub fn iter(self) -> impl Iterator<Item = EventKind> {
        EventKind::ALL.into_iter().filter(move |kind| self.contains(*kind))
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<EventKind> for EventKinds {
    fn from_iter<I: IntoIterator<Item = EventKind>>(kinds: I) -> Self {
        kinds.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Debug for EventKinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_hold_what_was_put_in() {
        for kind in EventKind::ALL {
            let set = EventKinds::NONE.with(kind);
            assert_eq!(
                EventKind::ALL.map(|other| set.contains(other)),
                EventKind::ALL.map(|other| other == kind)
            );
            assert_eq!(
                (set.union(EventKinds::NONE), set.intersection(EventKinds::NONE)),
                (set, EventKinds::NONE)
            );
            assert!(set.iter().eq([kind]));
        }
        let all: EventKinds = EventKind::ALL.into_iter().collect();
        assert!(EventKind::ALL.iter().all(|kind| all.contains(*kind)) && !all.is_empty());
        assert!(EventKinds::NONE.is_empty() && EventKinds::default().is_empty());
        assert_eq!(format!("{:?}", EventKinds::EXCHANGES.union(EventKinds::FLOWS)), "{Exchange, Flow}");
    }
}
