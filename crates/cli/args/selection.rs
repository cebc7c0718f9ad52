//! Which exchanges `gannet http` reports.

use std::time::Duration;

use clap::Args;
use gannet_record::{Glob, StatusSet};

use crate::units;

/// Conditions on exchanges: all that are given have to hold.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = SELECTION)]
pub(crate) struct SelectionArgs {
    /// Only exchanges with one of these methods, like get,post
    ///
    /// In whatever case. As with the other conditions, what is not selected is counted, and is in no output, neither
    /// in the latency table nor in the histograms. All conditions that are given have to hold.
    ///
    /// With -o httpry the requests that begin like one of these, and all responses, as httpry has it
    /// [default there: get,post,put,head,options,delete,trace,connect,patch]; no other condition goes with that format.
    #[arg(short, long, value_name = "LIST", value_delimiter = ',', value_parser = method, env = "GANNET_METHOD")]
    pub(crate) method: Vec<String>,

    /// Only exchanges with this host, like *.example.com; may repeat
    ///
    /// The host that was asked for, without port and in whatever case; the server's address where none was named. `*`
    /// stands for any characters, `?` for one, `[a-z]` for one of these, `{a,b}` for either. Of several one has to
    /// fit.
    #[arg(long, value_name = "GLOB", value_parser = Glob::of_host, value_delimiter = None, env = "GANNET_HOST")]
    pub(crate) host: Vec<Glob>,

    /// Only exchanges with this path, like /api/*; may repeat
    ///
    /// Without query. A pattern as that of --host; `*` stands for slashes, too. Of several one has to fit.
    #[arg(long, value_name = "GLOB", value_parser = Glob::of_path, value_delimiter = None, env = "GANNET_PATH")]
    pub(crate) path: Vec<Glob>,

    /// Only exchanges with one of these statuses, like 5xx,404,400-499
    ///
    /// Codes, ranges, and classes, of which there are five: 1xx to 5xx. What servers send beyond them (999, for one)
    /// is asked for as a code or a range. `none` is for exchanges without one: no response, or one of HTTP/0.9.
    #[arg(long, value_name = "LIST", value_parser = StatusSet::new, env = "GANNET_STATUS")]
    pub(crate) status: Option<StatusSet>,

    /// Only exchanges that took longer than this, like 1s or 250us
    ///
    /// From the request's first byte to the response's last. Without an answer, how long it has been waited for until
    /// the connection or the capture ended.
    #[arg(long, value_name = "TIME", value_parser = units::fine_time, env = "GANNET_SLOWER")]
    pub(crate) slower: Option<Duration>,

    /// Only exchanges for which this holds, like 'http.response.status_code >= 500'
    ///
    /// An expression over the names of the JSON record's fields, in the Common Expression Language (CEL):
    /// `&& || ! == != < <= > >= in ?:`, `+ - * / %` and parentheses; text in quotes, lists in brackets;
    /// TEXT.contains(), startsWith(), endsWith(), matches() with a regular expression, lowerAscii(), size(),
    /// duration("250ms"), which is a number of nanoseconds; has(FIELD); LIST.exists(x, ...) and LIST.all(x, ...).
    ///
    /// Header fields are lists: `http.request.header["user-agent"][0]`; those that are asked for here need not
    /// be in --header. Credentials are masked here as in records. Of bodies there is what --body keeps, which has to be
    /// given for them.
    ///
    /// A field that a record lacks is null: equal to null only, and neither more nor less than anything, nor is there
    /// any text to be found in it. So `http.response.status_code < 500` does not hold for a request without an
    /// answer, and `!(http.response.status_code < 500)` does.
    #[arg(long, value_name = "EXPR", value_delimiter = None, env = "GANNET_WHERE")]
    pub(crate) r#where: Option<String>,
}

/// `token` of RFC 9110, section 5.6.2, as far as that prevents mistakes.
fn method(text: &str) -> Result<String, String> {
    let text = text.trim();
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let list: Vec<_> = text.split_whitespace().collect();
        return Err(match list.as_slice() {
            [_, _, ..] => format!("{text:?} is no method: several are written {}", list.join(",")),
            _ => format!("{text:?} is no method"),
        });
    }
    Ok(text.to_owned())
}

const SELECTION: &str = "Selection";
