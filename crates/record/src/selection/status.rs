//! `--status`: codes, ranges and classes of them.
//!
//! "The first digit of the status code defines the class of response [...] There are five values for the first digit"
//! (RFC 9110, section 15). Codes beyond them are in use all the same, 999 for one, and can be asked for as codes and
//! ranges.

/// A set of status codes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusSet {
    /// From, to.
    ranges: Vec<(u16, u16)>,
    /// Exchanges without a response, too.
    none: bool,
}

impl StatusSet {
    /// A list of `404`, `400-499`, `5xx` and `none`, which is for exchanges without a response. What is wrong with
    /// another one is said for the user.
    pub fn new(list: &str) -> Result<Self, String> {
        let mut set = Self::default();
        for item in list.split(',').map(str::trim) {
            if item.eq_ignore_ascii_case("none") {
                set.none = true;
            } else {
                set.ranges.push(range(item).ok_or_else(|| refusal(item))?);
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
        [class @ b'1'..=b'5', b'x' | b'X', b'x' | b'X'] => {
            let class = u16::from(class - b'0') * 100;
            Some((class, class + 99))
        }
        _ => code(item).map(|code| (code, code)),
    }
}

/// Three digits, of which the first is no 0.
fn code(text: &str) -> Option<u16> {
    let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|code| *code >= 100)
}

/// Why an item is refused, and what can be said instead.
fn refusal(item: &str) -> String {
    match item.as_bytes() {
        [class @ b'0'..=b'9', b'x' | b'X', b'x' | b'X'] => {
            let instead = match class {
                b'6'..=b'9' => {
                    format!(" (codes beyond them can be given as a range: {0}00-{0}99)", *class as char)
                }
                _ => String::new(),
            };
            format!("{item:?} is no class of statuses: there are 1xx, 2xx, 3xx, 4xx and 5xx{instead}")
        }
        _ => format!(
            "{item:?} is no status: give a code from 100 to 999 (404), a range (400-499), a class (1xx to 5xx) or none"
        ),
    }
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
        let beyond = StatusSet::new("999,600-699").unwrap();
        assert!([600, 699, 999].iter().all(|code| beyond.contains(Some(*code))));
        assert!(!beyond.contains(Some(599)) && !beyond.contains(Some(998)));
        let set = StatusSet::new("none").unwrap();
        assert!(set.contains(None) && !set.contains(Some(200)));
    }

    #[test]
    fn what_is_no_status_is_named() {
        let wrong =
            ["", "5x", "x", "40", "099", "4040", "499-400", "4xx-5xx", "7..9", "+40", "200;404", "000-100"];
        for wrong in wrong {
            let list = format!("200,{wrong}");
            assert!(
                StatusSet::new(&list).unwrap_err().starts_with(&format!("{wrong:?} is no status")),
                "{wrong}"
            );
        }
    }

    #[test]
    fn classes_that_are_not_there_are_refused() {
        for (class, instead) in [("0xx", None), ("6xx", Some("600-699")), ("9XX", Some("900-999"))] {
            let text = StatusSet::new(class).unwrap_err();
            assert!(text.contains("is no class of statuses: there are 1xx, 2xx, 3xx, 4xx and 5xx"), "{text}");
            assert_eq!(instead.is_some(), text.contains('-'), "{text}");
            assert!(instead.is_none_or(|range| text.contains(range) && StatusSet::new(range).is_ok()));
        }
    }
}
