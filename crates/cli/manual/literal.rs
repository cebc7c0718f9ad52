//! What stands behind the flags in help, in roff: examples and tables as they are, so that they can be copied.

/// Appends `text`: a line that ends in a colon and is not indented begins a section, indented lines are literal.
pub(super) fn sections(text: &str, page: &mut Vec<u8>) {
    let mut literal = false;
    let mut add = |line: &str| {
        page.extend_from_slice(line.as_bytes());
        page.push(b'\n');
    };
    for line in text.lines() {
        let is_literal = line.starts_with("  ");
        if is_literal != literal {
            add(if is_literal { ".nf" } else { ".fi" });
            literal = is_literal;
        }
        match line.strip_suffix(':') {
            _ if line.is_empty() => add(".PP"),
            Some(heading) if !is_literal => add(&format!(".SH \"{}\"", escaped(heading).to_uppercase())),
            _ => add(&format!("\\&{}", escaped(line))),
        }
    }
    if literal {
        add(".fi");
    }
}

/// roff makes other characters of these.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        match char {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '\'' => out.push_str("\\(aq"),
            '`' => out.push_str("\\(ga"),
            '^' => out.push_str("\\(ha"),
            '~' => out.push_str("\\(ti"),
            char => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_can_be_copied() {
        let mut page = Vec::new();
        sections("Sizes take KiB.\n\nExamples:\n  One:\n      gannet -o 'a\\b'\nEnd.", &mut page);
        let expected = "\\&Sizes take KiB.\n.PP\n.SH \"EXAMPLES\"\n.nf\n\\&  One:\n\\&      gannet \\-o \\(aqa\\eb\\(aq\n.fi\n\\&End.\n";
        assert_eq!(String::from_utf8(page).unwrap(), expected);
    }
}
