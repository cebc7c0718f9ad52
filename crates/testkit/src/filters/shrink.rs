//! The shortest expression that still shows a fault.

/// Leaves out words of an expression as long as `fails` holds, larger runs first (the delta debugging of Zeller and
/// Hildebrandt, 2002, without its complements). What comes out fails too, and no single word of it can be spared.
///
/// `fails` is asked at most `budget` times.
pub fn shrink(expression: &str, budget: usize, mut fails: impl FnMut(&str) -> bool) -> String {
    let mut words = split(expression);
    let mut budget = budget;
    let mut run = words.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        let mut shorter = false;
        while at < words.len() && budget > 0 {
            let rest: Vec<String> = [&words[..at], &words[(at + run).min(words.len())..]].concat();
            budget -= 1;
            if fails(&rest.join(" ")) {
                words = rest;
                shorter = true;
            } else if let Some(rest) = without_pair(&words, at)
                && run == 1
            {
                budget = budget.saturating_sub(1);
                if fails(&rest.join(" ")) {
                    words = rest;
                    shorter = true;
                } else {
                    at += 1;
                }
            } else {
                at += run;
            }
        }
        if budget == 0 || (run == 1 && !shorter) {
            return words.join(" ");
        }
        run = if shorter { run } else { run.div_ceil(2) }.min(words.len().max(1));
    }
}

/// Without the bracket at `at` and the one that closes it.
fn without_pair(words: &[String], at: usize) -> Option<Vec<String>> {
    let mut depth = 0_usize;
    if !matches!(words.get(at)?.as_str(), "(") {
        return None;
    }
    for (end, word) in words.iter().enumerate().skip(at) {
        match word.as_str() {
            "(" => depth += 1,
            ")" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            let keep = |&(index, _): &(usize, &String)| index != at && index != end;
            return Some(words.iter().enumerate().filter(keep).map(|(_, word)| word.clone()).collect());
        }
    }
    None
}

/// Words, numbers and signs of an expression; joined by blanks they mean the same.
pub fn split(expression: &str) -> Vec<String> {
    const PAIRS: [&str; 7] = ["&&", "||", "<<", ">>", "<=", ">=", "!="];
    let mut words = Vec::new();
    let mut rest = expression.trim_start();
    while let Some(first) = rest.chars().next() {
        let len = if PAIRS.iter().any(|pair| rest.starts_with(pair)) || rest.starts_with("==") {
            2
        } else if first.is_ascii_alphanumeric() || first == '\\' || first == ':' && rest.starts_with("::") {
            // Inside a word, signs of addresses and names belong to it; `ip[0:2]` ends its number at the colon.
            let len =
                rest.find(|c: char| c.is_whitespace() || "()[]!&|<>=+*/%^".contains(c)).unwrap_or(rest.len());
            let address = rest[..len].matches(':').count() > 1;
            let end = if address || first == '\\' { None } else { rest[..len].find(':') };
            end.unwrap_or(len).max(1)
        } else {
            first.len_utf8()
        };
        let (word, tail) = rest.split_at(len);
        words.push(word.to_owned());
        rest = tail.trim_start();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_into_words() {
        assert_eq!(
            split("ip[2:2]&0xf!=len and(host ::1 or 0-1:2)"),
            [
                "ip", "[", "2", ":", "2", "]", "&", "0xf", "!=", "len", "and", "(", "host", "::1", "or",
                "0-1", ":", "2", ")"
            ]
        );
        assert_eq!(split(r"ether proto \ip && ether host 02:00:00:00:00:01").len(), 7);
    }

    #[test]
    fn finds_the_word_that_matters() {
        let shrunk = shrink("tcp and ((udp or vlan 7) and len > 5) or not arp", 1000, |text| {
            text.contains("vlan") && text.matches('(').count() == text.matches(')').count()
        });
        assert_eq!(shrunk, "vlan");
    }
}
