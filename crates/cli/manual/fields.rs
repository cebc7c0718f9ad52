//! The section FIELDS of the manual page of `gannet http`, in roff: of each format, what is in its lines.

use gannet_record::SECRET_KEYS;
use gannet_record::fields::{FIELDS, Field, Kind, Lines, Value};

/// Appends the section.
pub(super) fn section(page: &mut Vec<u8>) {
    let mut out = Roff { page };
    out.request(".SH FIELDS");
    out.request(".SS jsonl");
    out.text(
        "A JSON object in each line, its fields nested at the dots. A field without a value is absent, but for those of \
         timing in a record of an exchange, which are null. Names are those of OpenTelemetry's HTTP conventions where it \
         has one. Times are the capture times of the segments that first carried a byte. Bytes that are no UTF-8 are shown \
         as U+FFFD and two hexadecimal digits, everywhere, and so is a U+FFFD that was sent: what was on the wire can be had \
         back. --schema prints all of this as a JSON Schema.",
    );
    for field in FIELDS {
        out.request(".TP");
        out.bold(field.name, &type_of(field));
        out.text(&sentence(field));
    }
    meanings(&mut out);
    out.request(".SS Credentials");
    out.text(&format!(
        "Masked in all formats but httpry, unless --no-redact is given: the header fields authorization, \
         proxy-authorization, cookie and set-cookie; user names and passwords in front of an @ in URLs; and in queries the \
         values of these parameters, in any case: {}. Other parameters are the application's own and shown, whatever they are called.",
        SECRET_KEYS.join(", ")
    ));
    for (format, lead, rows) in [
        (
            "text",
            "A line for people, in aligned columns. A file or a pipe gets them without colours, and whole. A line such as \
             --- 2026-01-31 says the date, in front of the first record and wherever it is another; live on a terminal only \
             then.",
            TEXT,
        ),
        (
            "httpry",
            "A line for each request and each response; a TAB between values, - for one that is not there. These, by \
             default all but the ports; any other name is that of a header field. Lines are httpry's, byte for byte: nothing is \
             masked in them, with and without --no-redact. On a terminal control characters are shown as \\x1b.",
            HTTPRY,
        ),
        (
            "messages",
            "Each message whole: a line about it, its head, its body, its trailers, an empty line. The line has",
            MESSAGES,
        ),
    ] {
        out.request(&format!(".SS {format}"));
        out.text(lead);
        for (name, about) in rows {
            out.request(".TP");
            out.bold(name, "");
            out.text(about);
        }
    }
}

/// What the values of fields mean whose names do not say it: a list for each set of values.
fn meanings(out: &mut Roff<'_>) {
    for field in
        FIELDS.iter().filter(|field| explained_under(field).is_some_and(|with| with.name == field.name))
    {
        out.request(&format!(".SS Values of {}", escaped(field.name)));
        for (names, about) in Value::meanings(&field.kind.values()) {
            out.request(".TP");
            out.bold(&names, "");
            out.text(&capitalised(about));
        }
    }
}

/// The first field with the same values, under which they are explained; `None` if their names say all.
fn explained_under(field: &Field) -> Option<&'static Field> {
    let values = field.kind.values();
    let is_explained = !Value::meanings(&values).is_empty();
    FIELDS.iter().find(|other| is_explained && other.kind.values() == values)
}

/// Type, unit, and whether it can be null, in parentheses.
fn type_of(field: &Field) -> String {
    let null = if field.nullable { " or null" } else { "" };
    match field.unit {
        "" => format!(" ({}{null})", field.kind.name()),
        unit => format!(" ({}{null}, {unit})", field.kind.name()),
    }
}

/// A sentence of words that begin small and end without a full stop.
fn capitalised(about: &str) -> String {
    let mut text = about.to_owned();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text.push('.');
    text
}

fn sentence(field: &Field) -> String {
    let mut text = capitalised(field.about);
    let values = field.kind.values();
    if !values.is_empty() {
        let lead = if matches!(field.kind, Kind::Words(_)) { "Any of" } else { "One of" };
        text.push_str(&match explained_under(field) {
            Some(with) => format!(" {lead} those that are explained below, under Values of {}.", with.name),
            None => {
                let names: Vec<_> = values.iter().map(|value| value.name.as_str()).collect();
                format!(" {lead} {}.", names.join(", "))
            }
        });
    }
    if field.lines != Lines::ALL {
        let lines = Lines::EACH.into_iter().filter(|(line, _)| field.lines.has(*line));
        let names: Vec<_> = lines.map(|(_, event)| event.unwrap_or("exchange")).collect();
        if names != ["exchange"] {
            text.push_str(&format!(" Only in lines of: {}.", names.join(", ")));
        }
    }
    text
}

const TEXT: &[(&str, &str)] = &[
    ("time", "Time of day of the first byte, local, to the millisecond."),
    ("client", "IP address of the client."),
    ("status", "Status code; --- without an answer, >>> for a request, ... for one that waits."),
    (
        "duration",
        "From the request's first to the response's last byte, with a ~ in front if it is not to be trusted; of a message, from \
         its first to its last byte; how long a request has been waiting.",
    ),
    ("size", "Bytes of the response's body, or the message's, on the wire without the framing of chunks."),
    ("method", "The method as sent."),
    ("url", "Host, path and query; without a request, the server's address and port."),
    (
        "[state]",
        "How an exchange ended that is not complete, and why if it has no request; for --events and --pending, what the line \
         is about.",
    ),
];

const HTTPRY: &[(&str, &str)] = &[
    ("timestamp", "Local time of the packet, to the second."),
    ("source-ip, dest-ip", "Of the packet: a response has the server's as source-ip."),
    ("source-port, dest-port", "The ports (not by default)."),
    ("direction", "> for a request, < for a response."),
    ("method, host, request-uri", "Of a request; host is the Host field."),
    ("http-version", "As in the start line."),
    ("status-code, reason-phrase", "Of a response."),
];

const MESSAGES: &[(&str, &str)] = &[
    ("time, addresses", "Of the first byte; who sent the message to whom."),
    ("id", "gannet.id of the exchange, as in jsonl."),
    (
        "body N",
        "How many bytes behind the head are the body, without chunks and codings, as far as --body goes.",
    ),
    ("(gzip, N bytes on the wire)", "The codings that were undone, and the length before that."),
    ("(N bytes not captured)", "Bytes of the body that the capture lacks; what is shown is what there is."),
    ("(from the first N of M)", "Only so many of the bytes on the wire were kept (--body)."),
    ("(and more)", "The body goes on beyond --body when it is decompressed."),
    ("(ends too early for gzip)", "The message is whole, and its compressed body is not."),
    ("(does not decode as gzip)", "The body is shown as far as it could be decompressed."),
    (
        "(not decoded, unknown coding: x), (not decoded, too many codings: x)",
        "The body is shown as it was on the wire, without chunks.",
    ),
    ("(decompression bomb, given up)", "The body grows a thousandfold or more."),
    ("(cut off)", "The end of the message was not seen."),
    ("(head cut), (trailers cut)", "Not all of them was seen, or kept."),
    ("(no answer for TIME)", "In a line of --pending."),
];

/// A page under way.
struct Roff<'p> {
    page: &'p mut Vec<u8>,
}

impl Roff<'_> {
    fn request(&mut self, line: &str) {
        self.page.extend_from_slice(line.as_bytes());
        self.page.push(b'\n');
    }

    fn bold(&mut self, text: &str, behind: &str) {
        self.request(&format!("\\fB{}\\fR{}", escaped(text), escaped(behind)));
    }

    /// A line of text. A full stop or an apostrophe at its beginning would make it a request.
    fn text(&mut self, text: &str) {
        self.request(&format!("\\&{}", escaped(text)));
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}
