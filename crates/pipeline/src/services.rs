//! Protocols that can be told by their first bytes, besides those that the HTTP layer knows. Only what is sure: a
//! wrong name is worse than none.

use gannet_record::Service;

/// "SSH-protoversion-softwareversion" (RFC 4253, section 4.2), of versions 1 and 2.
pub(crate) fn is_ssh(bytes: &[u8]) -> bool {
    bytes.starts_with(b"SSH-2.0-") || bytes.starts_with(b"SSH-1.")
}

/// Whether a server says that it is ready: "220", as in SMTP (RFC 5321, section 4.2) and FTP (RFC 959, section 4.2).
pub(crate) fn is_greeting(bytes: &[u8]) -> bool {
    matches!(bytes, [b'2', b'2', b'0', b' ' | b'-', ..])
}

/// Which of the protocols with that greeting a client speaks, by its first command.
pub(crate) fn of_command(bytes: &[u8]) -> Option<Service> {
    let verb = bytes.get(..4)?.to_ascii_uppercase();
    let ends = matches!(bytes.get(4), Some(b' ' | b'\r'));
    match &verb[..] {
        b"EHLO" | b"HELO" if ends => Some(Service::Smtp),
        b"USER" | b"AUTH" | b"FEAT" if ends => Some(Service::Ftp),
        _ => None,
    }
}

/// Whether this is a DNS message (RFC 1035, section 4.1): an operation that exists, as many records as a message can
/// hold, and in the first place a name with a type and a class that exist.
pub(crate) fn is_dns(message: &[u8]) -> bool {
    let Some((header, mut rest)) = message.split_first_chunk::<12>() else { return false };
    let [_, _, flags, _, counts @ ..] = *header;
    let count = |at: usize| usize::from(u16::from_be_bytes([counts[at], counts[at + 1]]));
    let [questions, answers, authorities, additional] = [0, 2, 4, 6].map(count);
    // QUERY, IQUERY, STATUS, NOTIFY, UPDATE, DSO.
    let operation = flags >> 3 & 0x0f;
    // A question has at least 5 bytes, a record 11.
    let least = questions * 5 + (answers + authorities + additional) * 11;
    if operation > 6 || operation == 3 || questions + answers == 0 || least > message.len() {
        return false;
    }
    let mut name_len = 0;
    loop {
        let Some((&len, behind)) = rest.split_first() else { return false };
        // The first name has nothing before it to point to.
        if len > 63 || name_len > 255 {
            return false;
        }
        let Some(behind) = behind.get(usize::from(len)..) else { return false };
        rest = behind;
        name_len += usize::from(len) + 1;
        if len == 0 {
            break;
        }
    }
    // In multicast DNS the class's first bit means something else (RFC 6762, sections 5.4 and 10.2).
    matches!(*rest, [high, low, class_high, class_low, ..]
        if (high, low) != (0, 0) && matches!((class_high & 0x7f, class_low), (0, 1 | 3 | 4 | 254 | 255)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A question for the address of `name`.
    fn question(name: &[&[u8]]) -> Vec<u8> {
        let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name {
            message.push(label.len() as u8);
            message.extend_from_slice(label);
        }
        message.extend([0, 0, 1, 0, 1]);
        message
    }

    #[test]
    fn dns_is_told_from_what_is_none() {
        let whole = question(&[b"www", b"example", b"com"]);
        assert!(is_dns(&whole) && is_dns(&question(&[])));
        for len in 0..whole.len() {
            assert!(!is_dns(&whole[..len]), "{len}");
        }
        let changed = |at: usize, to: u8| {
            let mut message = whole.clone();
            message[at] = to;
            is_dns(&message)
        };
        assert!(changed(0, 9) && changed(2, 0x81) && changed(3, 0x80));
        // An answer of multicast DNS: no question, the cache is to be flushed.
        let mut answer = whole.clone();
        answer[2..8].copy_from_slice(&[0x84, 0, 0, 0, 0, 1]);
        let class = answer.len() - 2;
        answer[class] = 0x80;
        answer.extend([0, 0, 0, 9, 0, 4, 1, 2, 3, 4]);
        assert!(is_dns(&answer));
        // No such operation, no record, more records than bytes, a pointer, a class that is none.
        assert!(!changed(2, 0x78) && !changed(5, 0) && !changed(6, 1) && !changed(12, 0xc0));
        assert!(!changed(whole.len() - 1, 9));
        assert!(!is_dns(&[0; 40]) && !is_dns(&[0xff; 40]) && !is_dns(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    }

    #[test]
    fn greetings_and_commands() {
        assert!(
            is_ssh(b"SSH-2.0-OpenSSH_9.6\r\n")
                && is_ssh(b"SSH-1.99-x")
                && !is_ssh(b"SSH-3.0-x")
                && !is_ssh(b"SSH")
        );
        assert!(is_greeting(b"220 mail.example ESMTP\r\n") && is_greeting(b"220-one\r\n"));
        assert!(!is_greeting(b"220") && !is_greeting(b"2200 ") && !is_greeting(b"421 busy"));
        for (command, service) in [
            ("EHLO a\r\n", Some(Service::Smtp)),
            ("helo a", Some(Service::Smtp)),
            ("USER anonymous\r\n", Some(Service::Ftp)),
            ("AUTH TLS\r\n", Some(Service::Ftp)),
            ("FEAT\r\n", Some(Service::Ftp)),
            ("EHLOa\r\n", None),
            ("NOOP\r\n", None),
            ("USE", None),
        ] {
            assert_eq!(of_command(command.as_bytes()), service, "{command}");
        }
    }
}
