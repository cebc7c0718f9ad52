//! `--status`: codes, ranges and classes of them.

/// A set of status codes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusSet {
    /// From, to.
    ranges: Vec<(u16, u16)>,
    /// Exchanges without a response, too.
    none: bool,
}

impl StatusSet {
    /// A list of `404`, `400-499`, `5xx` and `none`, which is for exchanges without a response.
    pub fn new(list: &str) -> Result<Self, String> {
        let mut set = Self::default();
        for item in list.split(',').map(str::trim) {
            if item.eq_ignore_ascii_case("none") {
                set.none = true;
            } else {
                set.ranges.push(range(item).ok_or_else(|| {
                    format!(
                        "{item:?} is no status: give a code (404), a range (400-499), a class (5xx) or none"
                    )
                })?);
            }
        }
        Ok(set)
    }

    /// Whether the status of a response, or that there is none, is in the set.
    pub fn contains(&self, status: Option<u16>) -> bool {
        match status {
            Some(status) => self.ranges.iter().any(|(from, to)| (*from..=*to).contains(&status)),
            None => self.none,
        }
    }
}

fn range(item: &str) -> Option<(u16, u16)> {
    if let Some((from, to)) = item.split_once('-') {
        let (from, to) = (code(from.trim())?, code(to.trim())?);
        return (from <= to).then_some((from, to));
    }
    match item.as_bytes() {
        [class @ b'1'..=b'9', b'x' | b'X', b'x' | b'X'] => {
            let class = u16::from(class - b'0') * 100;
            Some((class, class + 99))
        }
        _ => code(item).map(|code| (code, code)),
    }
}

/// Three digits (RFC 9110, section 15).
fn code(text: &str) -> Option<u16> {
    let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_codes_ranges_and_classes() {
        let set = StatusSet::new("5xx, 404,400 - 402,1XX").unwrap();
        let inside = [100, 199, 400, 402, 404, 500, 599];
        let outside = [200, 399, 403, 405, 499, 600];
        assert!(inside.iter().all(|code| set.contains(Some(*code))));
        assert!(outside.iter().all(|code| !set.contains(Some(*code))) && !set.contains(None));
        let set = StatusSet::new("none").unwrap();
        assert!(set.contains(None) && !set.contains(Some(200)));
    }

    #[test]
    fn what_is_no_status_is_named() {
        for wrong in ["", "5x", "0xx", "x", "40", "4040", "499-400", "4xx-5xx", "+40", "200;404"] {
            let list = format!("200,{wrong}");
            assert!(
                StatusSet::new(&list).unwrap_err().starts_with(&format!("{wrong:?} is no status")),
                "{wrong}"
            );
        }
    }
}
