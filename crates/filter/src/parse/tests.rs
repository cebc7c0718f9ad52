//! What is understood as what, and what is refused.

use super::*;
use crate::tree::Arithmetic;

/// The expression in full, with parentheses around everything: what it was understood as.
fn understood(text: &str) -> String {
    let mut stack: Vec<String> = Vec::new();
    for item in parse(text).unwrap_or_else(|error| panic!("{}", error.render(text))) {
        let shown = match item.kind {
            ItemKind::Primitive(Primitive::Qualified(qualifiers, identifier)) => {
                format!("{} {}", qualifiers.place.of(text), identifier.place.of(text))
            }
            ItemKind::Primitive(Primitive::Relation(relation, left, right)) => {
                format!("{relation:?} {} {}", arithmetic(&left), arithmetic(&right))
            }
            ItemKind::Primitive(_) => item.place.of(text).to_owned(),
            ItemKind::Not => format!("!({})", stack.pop().unwrap()),
            ItemKind::And | ItemKind::Or => {
                let (right, left) = (stack.pop().unwrap(), stack.pop().unwrap());
                format!("({left} {} {right})", if item.kind == ItemKind::And { "&" } else { "|" })
            }
        };
        stack.push(shown);
    }
    assert_eq!(stack.len(), 1, "{text}");
    stack.remove(0)
}

fn arithmetic(arithmetic: &Arithmetic) -> String {
    let mut stack: Vec<String> = Vec::new();
    for step in &arithmetic.steps {
        let shown = match step {
            Value::Number(number) => number.to_string(),
            Value::Length => "len".to_owned(),
            Value::Load { size, .. } => format!("[{}:{size}]", stack.pop().unwrap()),
            Value::Negate => format!("-{}", stack.pop().unwrap()),
            Value::Binary(operator) => {
                let (right, left) = (stack.pop().unwrap(), stack.pop().unwrap());
                format!("({operator:?} {left} {right})")
            }
        };
        stack.push(shown);
    }
    assert_eq!(stack.len(), 1);
    stack.remove(0)
}

fn refused(text: &str) -> Error {
    match parse(text) {
        Ok(items) => panic!("accepted {text}: {items:?}"),
        Err(error) => error,
    }
}

#[test]
fn and_and_or_bind_alike_and_not_binds_tighter() {
    assert_eq!(understood("tcp or udp and ip or arp"), "(((tcp | udp) & ip) | arp)");
    assert_eq!(understood("not tcp and ! ! udp"), "(!(tcp) & !(!(udp)))");
    assert_eq!(understood("tcp && (udp || icmp)"), "(tcp & (udp | icmp))");
}

#[test]
fn identifiers_take_over_the_qualifiers_before_them() {
    assert_eq!(understood("port 80 or 443"), "(port 80 | port 443)");
    assert_eq!(understood("tcp dst port (80 or not 443)"), "(tcp dst port 80 | !(tcp dst port 443))");
    assert_eq!(
        understood("src host 1.1 or not 2.2 and 3.3"),
        "((src host 1.1 | !(src host 2.2)) & src host 3.3)"
    );
    assert_eq!(understood("port 1 and (2 or (3 and 4))"), "(port 1 & (port 2 | (port 3 & port 4)))");
    assert_eq!(understood("port 1 and ((tcp) or 2)"), "(port 1 & (tcp | port 2))");
    assert_eq!(understood("port 1 and (tcp or port 2) or 3"), "((port 1 & (tcp | port 2)) | port 3)");
    assert_eq!(understood("src or dst port 5"), "src or dst port 5");
    assert_eq!(understood("dst and src host 1.1"), "dst and src host 1.1");
    refused("port 80 and tcp or 443");
    refused("(port 80) or 443");
    refused("tcp or 80");
    refused("host a and (b or port 80)");
    refused("port ((80 or 443) or 22)");
    refused("host a and ((b))");
}

#[test]
fn a_number_is_what_follows_it() {
    assert_eq!(understood("port 80 and 5 > 3"), "(port 80 & Greater 5 3)");
    assert_eq!(understood("port 80 and (5)"), "(port 80 & port (5))");
    assert_eq!(understood("port 80 and ((5) + 1) > 3"), "(port 80 & Greater (Add 5 1) 3)");
    assert_eq!(understood("port (((80)) or 443)"), "(port ((80)) | port 443)");
    assert_eq!(understood("(((5))) < len"), "Less 5 len");
}

#[test]
fn arithmetic_has_the_precedence_of_c_but_for_two() {
    assert_eq!(understood("1 + 2 * 3 = 7"), "Equal (Add 1 (Mul 2 3)) 7");
    assert_eq!(understood("1 - 2 - 3 = 7"), "Equal (Sub (Sub 1 2) 3) 7");
    assert_eq!(understood("1 | 2 & 3 << 4 = 7"), "Equal (Or 1 (And 2 (ShiftLeft 3 4))) 7");
    assert_eq!(understood("1 * 2 % 3 + 4 = 7"), "Equal (Mul 1 (Mod 2 (Add 3 4))) 7");
    assert_eq!(understood("1 ^ 2 | 3 = 7"), "Equal (Xor 1 (Or 2 3)) 7");
    assert_eq!(understood("-1 + 2 = 7"), "Equal (Add -1 2) 7");
    assert_eq!(understood("-1 % 2 = 7"), "Equal -(Mod 1 2) 7");
    assert_eq!(
        understood("tcp[((tcp[12:1] & 0xf0) >> 2):4] = 1"),
        "Equal [(ShiftRight (And [12:1] 240) 2):4] 1"
    );
}

#[test]
fn vxlan_is_a_keyword_where_a_primitive_may_stand() {
    assert_eq!(understood("udp and vxlan 7 and tcp"), "((udp & vxlan 7) & tcp)");
    assert_eq!(understood("host vxlan"), "host vxlan");
}

#[test]
fn places_are_those_of_the_words() {
    let text = "tcp and (ip[0] + 1) * 2 > 5 or port 80 or 81";
    let places: Vec<&str> = parse(text).unwrap().iter().map(|item| item.place.of(text)).collect();
    assert_eq!(places, ["tcp", "(ip[0] + 1) * 2 > 5", "and", "port 80", "or", "81", "or"]);
    assert_eq!(refused("(tcp and (udp)").span, 0..1);
    assert_eq!(refused("tcp and prot 80").span, 8..12);
}

#[test]
fn depth_is_bounded_and_nothing_is_quadratic() {
    let nested = |depth: usize| format!("{}tcp{}", "(".repeat(depth), ")".repeat(depth));
    assert!(parse(&nested(MAX_OPEN)).is_ok());
    assert_eq!(refused(&nested(MAX_OPEN + 1)).kind, ErrorKind::TooLarge);
    assert_eq!(refused(&"not ".repeat(MAX_OPEN + 1)).kind, ErrorKind::TooLarge);
    assert_eq!(refused(&" ".repeat(MAX_TEXT_BYTES + 1)).kind, ErrorKind::TooLarge);
    assert_eq!(parse(&format!("tcp{}", " or udp".repeat(100_000))).unwrap().len(), 200_001);
    for piece in ["1:2:", ":", "::", "1.", "-", "a-", "tcp[", "(", "::1", "1 + ", "\\", "\u{e9}", "1 ^ "] {
        let _ = parse(&piece.repeat(MAX_TEXT_BYTES / piece.len()));
    }
}
