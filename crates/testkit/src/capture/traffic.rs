//! What clients ask and servers answer: routes, header fields, bodies, times - drawn, each from a plausible
//! distribution.
//!
//! Floating point here is additions and multiplications only, which IEEE 754 defines to the last bit: the same seed
//! gives the same bytes on every machine. Compressed bodies are those of the zlib that the lock file names.

use std::borrow::Cow;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::conversation::{Body, Request, Response};
use crate::random::Random;

/// What all connections draw from.
pub(super) struct Traffic {
    text: Vec<u8>,
    binary: Vec<u8>,
    /// Compressed texts, shortest first.
    gzip: Vec<Vec<u8>>,
}

/// A request with the answer that it will get, and the time that will take.
pub(super) struct Planned<'t> {
    pub(super) request: Request<'t>,
    pub(super) response: Response<'t>,
    pub(super) service_ns: u64,
}

/// What a client says in each of its requests.
pub(super) struct Visitor {
    user_agent: &'static str,
    host: &'static str,
    cookie: Option<String>,
    forwarded_for: Option<String>,
}

impl Traffic {
    /// Makes bodies to cut from.
    pub(super) fn new(random: &mut Random) -> Self {
        let mut text = Vec::with_capacity(POOL + 16);
        while text.len() < POOL {
            text.extend_from_slice(WORDS[random.below(WORDS.len() as u64) as usize].as_bytes());
            match random.below(12) {
                0 => text.extend_from_slice(b",\n  "),
                1 => text.extend_from_slice(format!("\": {}", random.below(100_000)).as_bytes()),
                _ => text.push(b' '),
            }
        }
        text.truncate(POOL);
        let mut binary = Vec::with_capacity(POOL);
        while binary.len() < POOL {
            binary.extend_from_slice(&random.next_u64().to_le_bytes());
        }
        let mut gzip: Vec<Vec<u8>> = Vec::new();
        for index in 0..GZIP_BODIES {
            // Sizes that go up evenly by their logarithm, so that drawing evenly from them is log-uniform.
            let size = exp2(
                LOG2_SMALLEST + (LOG2_LARGEST - LOG2_SMALLEST) * (index as f64 + 0.5) / GZIP_BODIES as f64,
            );
            gzip.push(compressed(&text, size as usize, random));
        }
        Self { text, binary, gzip }
    }

    /// A client, as long as its connection lives.
    pub(super) fn visitor(&self, random: &mut Random) -> Visitor {
        let mut pick = |list: &[&'static str]| list[random.below(list.len() as u64) as usize];
        let (user_agent, host) = (pick(&USER_AGENTS), pick(&HOSTS));
        let cookie = random.chance_in_million(400_000).then(|| {
            format!(
                "session={:032x}; theme=dark; _v={}",
                u128::from(random.next_u64()),
                random.below(1 << 30)
            )
        });
        let forwarded_for = random
            .chance_in_million(150_000)
            .then(|| format!("203.0.113.{}, 192.0.2.{}", random.between(1, 254), random.between(1, 254)));
        Visitor { user_agent, host, cookie, forwarded_for }
    }

    /// The next exchange of a visitor. `simple` asks for a GET, which a client may send before it has the answer to the
    /// previous request; `date` is the time of day of the answer's `Date`.
    pub(super) fn exchange<'t>(
        &'t self,
        visitor: &Visitor,
        simple: bool,
        time_ns: u64,
        random: &mut Random,
    ) -> Planned<'t> {
        let method = if simple { "GET" } else { weighted(&METHODS, random) };
        let route = draw_route(method, random);
        let target = route.target(random);
        let status = draw_status(method, random);
        let mut request = Request::new(method, target, visitor.host)
            .header("User-Agent", visitor.user_agent)
            .header("Accept", route.kind.accept())
            .header("Accept-Encoding", "gzip, deflate");
        if let Some(cookie) = &visitor.cookie {
            request = request.header("Cookie", cookie.clone());
        }
        if let Some(forwarded_for) = &visitor.forwarded_for {
            request = request.header("X-Forwarded-For", forwarded_for.clone());
        }
        if random.chance_in_million(100_000) {
            let (trace, span) = (random.next_u64(), random.next_u64() | 1);
            request = request.header("traceparent", format!("00-{trace:032x}-{span:016x}-01"));
        }
        if random.chance_in_million(250_000) {
            request = request.header("Referer", format!("http://{}/", visitor.host));
        }
        if status == 304 {
            request = request.header("If-None-Match", format!("\"{:x}\"", random.next_u64()));
        }
        if matches!(method, "POST" | "PUT") {
            let size = log_uniform(LOG2_SMALLEST_UPLOAD, LOG2_LARGEST_UPLOAD, random);
            let content = cut(&self.text, size, random);
            request = request.header("Content-Type", "application/json");
            let chunked = random.chance_in_million(50_000);
            request.body = if chunked { Body::chunked(content, 4_096) } else { Body::length(content) };
        }
        let response = self.response(method, status, route, visitor, time_ns, random);
        let (median_ns, spread) = route.kind.service();
        let service_ns = log_normal(median_ns, spread, random);
        Planned { request, response, service_ns }
    }

    fn response<'t>(
        &'t self,
        method: &str,
        status: u16,
        route: &Shape,
        visitor: &Visitor,
        time_ns: u64,
        random: &mut Random,
    ) -> Response<'t> {
        let mut response = Response::new(status, Body::None)
            .header("Server", SERVERS[random.below(SERVERS.len() as u64) as usize])
            .header("Date", http_date(time_ns));
        let etag = |random: &mut Random| format!("\"{:x}\"", random.next_u64());
        match status {
            204 if method == "OPTIONS" => {
                return response.header("Allow", "GET, HEAD, POST, PUT, DELETE, OPTIONS");
            }
            204 => return response,
            304 => return response.header("ETag", etag(random)).header("Cache-Control", "max-age=3600"),
            201 | 301 => {
                let path = route.target(random);
                response = response.header("Location", format!("http://{}{path}", visitor.host));
            }
            503 => response = response.header("Retry-After", "5"),
            200 => {
                response = response.header("Cache-Control", route.kind.cache_control());
                if route.kind.is_static() {
                    response = response.header("ETag", etag(random)).header("Accept-Ranges", "bytes");
                } else if random.chance_in_million(30_000) {
                    let cookie = format!("session={:016x}; Path=/; HttpOnly", random.next_u64());
                    response = response.header("Set-Cookie", cookie);
                }
            }
            _ => {}
        }
        let kind = if status == 200 { route.kind } else { Kind::Error };
        response = response.header("Content-Type", kind.content_type());
        if method == "HEAD" {
            return response.with_body(Body::Announced(log_uniform(LOG2_SMALLEST, LOG2_LARGEST, random)));
        }
        let content: Cow<'t, [u8]> = if kind.is_text() && random.chance_in_million(150_000) {
            response = response.header("Content-Encoding", "gzip").header("Vary", "Accept-Encoding");
            self.gzip[random.below(self.gzip.len() as u64) as usize].as_slice().into()
        } else {
            let pool = if kind.is_text() { &self.text } else { &self.binary };
            cut(pool, log_uniform(LOG2_SMALLEST, LOG2_LARGEST, random), random).into()
        };
        if !kind.is_static() && random.chance_in_million(180_000) {
            let chunk = [1_000, 4_096, 8_192, 16_384, 32_768][random.below(5) as usize];
            return response.with_body(Body::chunked(content, chunk));
        }
        response.with_body(Body::length(content))
    }
}

impl<'a> Response<'a> {
    fn with_body(mut self, body: Body<'a>) -> Self {
        self.body = body;
        self
    }
}

/// A time with this median; one in six is beyond the median times or divided by 2 to the power of `spread`.
pub(super) fn log_normal(median_ns: f64, spread: f64, random: &mut Random) -> u64 {
    // The sum of four even draws is close to normal; its variance is a third.
    let sum = (0..4).map(|_| random.unit()).sum::<f64>() - 2.0;
    (median_ns * exp2(spread * sum * SQRT_3)) as u64
}

fn log_uniform(log2_low: f64, log2_high: f64, random: &mut Random) -> u64 {
    (exp2(log2_low + (log2_high - log2_low) * random.unit()) + 0.5) as u64
}

/// Two to the power of `x` for `x` from -1000 to 1000, to 1e-9: the exponent by its bits, the rest by its series.
fn exp2(x: f64) -> f64 {
    let whole = x.floor();
    let rest = (x - whole) * std::f64::consts::LN_2;
    let series = (1..=10).rev().fold(1.0, |sum, n| 1.0 + sum * rest / f64::from(n));
    f64::from_bits(((whole as i64 + 1_023) as u64) << 52) * series
}

/// `size` bytes from anywhere in a pool.
fn cut<'p>(pool: &'p [u8], size: u64, random: &mut Random) -> &'p [u8] {
    let size = (size as usize).min(pool.len());
    let at = random.between(0, (pool.len() - size) as u64) as usize;
    &pool[at..at + size]
}

/// Text that takes about `size` bytes when compressed.
fn compressed(text: &[u8], size: usize, random: &mut Random) -> Vec<u8> {
    // The ratio of this text is about 3; one correction by what the first attempt gave is close enough.
    let mut length = size * 3;
    let at = random.below((text.len() - 2 * LARGEST_TEXT) as u64) as usize;
    let mut out = Vec::new();
    for _ in 0..2 {
        let content = &text[at..at + length.clamp(1, LARGEST_TEXT)];
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        // Writing to memory does not fail; if it did, the body would be shorter and everything still consistent.
        let _ = encoder.write_all(content);
        out = encoder.finish().unwrap_or_default();
        length = length * size / out.len().max(1);
    }
    out
}

fn weighted(list: &[(&'static str, u64)], random: &mut Random) -> &'static str {
    let mut left = random.below(list.iter().map(|(_, weight)| weight).sum());
    for &(value, weight) in list {
        if left < weight {
            return value;
        }
        left -= weight;
    }
    list[0].0
}

/// A route that has the method; the first of the list are asked for most.
fn draw_route(method: &str, random: &mut Random) -> &'static Shape {
    loop {
        let count = ROUTES.len() as u64;
        let route = &ROUTES[random.below(count).min(random.below(count)) as usize];
        let writes = matches!(method, "POST" | "PUT" | "DELETE");
        if !writes || route.kind == Kind::Api {
            return route;
        }
    }
}

fn draw_status(method: &str, random: &mut Random) -> u16 {
    let list: &[(u16, u64)] = match method {
        "GET" => &[(200, 880), (304, 50), (301, 20), (404, 35), (400, 5), (500, 6), (503, 4)],
        "HEAD" => &[(200, 900), (304, 50), (404, 50)],
        "POST" => &[(201, 550), (200, 380), (400, 40), (500, 20), (503, 10)],
        "PUT" => &[(200, 500), (204, 350), (201, 100), (404, 30), (500, 20)],
        "DELETE" => &[(204, 850), (404, 130), (500, 20)],
        _ => &[(204, 800), (200, 200)],
    };
    let mut left = random.below(list.iter().map(|(_, weight)| weight).sum());
    for &(status, weight) in list {
        if left < weight {
            return status;
        }
        left -= weight;
    }
    200
}

fn http_date(time_ns: u64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(time_ns))
        .map_or_else(|_| String::new(), |time| time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
}

/// A kind of path: what stands in braces is drawn.
struct Shape {
    path: &'static str,
    kind: Kind,
}

impl Shape {
    fn target(&self, random: &mut Random) -> String {
        let mut target = String::with_capacity(64);
        let mut rest = self.path;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            target.push_str(before);
            match name {
                "id" => target.push_str(&random.between(1, 2_000_000).to_string()),
                "page" => target.push_str(&random.between(1, 40).to_string()),
                "hash" => target.push_str(&format!("{:016x}", random.next_u64())),
                "uuid" => {
                    let (high, low) = (random.next_u64(), random.next_u64());
                    target.push_str(&format!(
                        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
                        high >> 32,
                        high >> 16 & 0xffff,
                        high & 0xfff,
                        low >> 48 & 0xfff,
                        low & 0xffff_ffff_ffff
                    ));
                }
                _ => {
                    let mut word = || WORDS[random.below(WORDS.len() as u64) as usize];
                    let (one, two) = (word(), word());
                    target.push_str(one);
                    target.push('-');
                    target.push_str(two);
                }
            }
            rest = after;
        }
        target.push_str(rest);
        target
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Page,
    Api,
    Script,
    Style,
    Image,
    Font,
    Download,
    Error,
}

impl Kind {
    fn content_type(self) -> &'static str {
        match self {
            Self::Page | Self::Error => "text/html; charset=utf-8",
            Self::Api => "application/json",
            Self::Script => "application/javascript",
            Self::Style => "text/css",
            Self::Image => "image/jpeg",
            Self::Font => "font/woff2",
            Self::Download => "application/octet-stream",
        }
    }

    fn accept(self) -> &'static str {
        match self {
            Self::Page => "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            Self::Api => "application/json",
            Self::Image => "image/avif,image/webp,*/*",
            _ => "*/*",
        }
    }

    fn cache_control(self) -> &'static str {
        if self.is_static() { "public, max-age=86400" } else { "no-cache" }
    }

    fn is_text(self) -> bool {
        !matches!(self, Self::Image | Self::Font | Self::Download)
    }

    fn is_static(self) -> bool {
        matches!(self, Self::Script | Self::Style | Self::Image | Self::Font | Self::Download)
    }

    /// Median of the server's time in ns, and its spread in powers of two.
    fn service(self) -> (f64, f64) {
        match self {
            Self::Page => (9e6, 1.2),
            Self::Api => (3e6, 1.5),
            Self::Error => (1e6, 1.0),
            _ => (150e3, 0.8),
        }
    }
}

/// Bytes to cut bodies from, of each sort.
const POOL: usize = 2 << 20;
/// Longest text that is compressed.
const LARGEST_TEXT: usize = 500_000;
/// How many different compressed bodies there are.
const GZIP_BODIES: usize = 48;
/// Of 200 and 100,000 bytes: response bodies.
const LOG2_SMALLEST: f64 = 7.643_856_189_774_724;
const LOG2_LARGEST: f64 = 16.609_640_474_436_81;
/// Of 64 and 65,536 bytes: request bodies.
const LOG2_SMALLEST_UPLOAD: f64 = 6.0;
const LOG2_LARGEST_UPLOAD: f64 = 16.0;
const SQRT_3: f64 = 1.732_050_807_568_877_2;

const METHODS: [(&str, u64); 6] =
    [("GET", 800), ("POST", 95), ("PUT", 35), ("HEAD", 30), ("DELETE", 20), ("OPTIONS", 20)];

const HOSTS: [&str; 8] = [
    "www.example.com",
    "api.example.com",
    "static.example.com",
    "shop.example.net",
    "img.example.net",
    "blog.example.org",
    "login.example.org",
    "intranet.example",
];

const SERVERS: [&str; 4] = ["nginx/1.26.2", "nginx", "Apache/2.4.62 (Debian)", "gunicorn"];

const USER_AGENTS: [&str; 10] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Mobile Safari/537.36",
    "curl/8.14.1",
    "python-requests/2.32.4",
    "Go-http-client/1.1",
    "okhttp/4.12.0",
    "kube-probe/1.33",
];

const WORDS: [&str; 40] = [
    "harbour", "lantern", "meadow", "copper", "winter", "signal", "garden", "thunder", "velvet", "orchard",
    "pebble", "falcon", "marble", "candle", "river", "saddle", "timber", "walnut", "anchor", "basket",
    "cobalt", "drift", "ember", "fjord", "glacier", "heron", "island", "juniper", "kettle", "linen",
    "mosaic", "nectar", "opal", "prairie", "quartz", "ripple", "summit", "tundra", "umber", "willow",
];

macro_rules! routes {
    ($($kind:ident: $($path:literal)+;)+) => {
        [$($(Shape { path: $path, kind: Kind::$kind },)+)+]
    };
}

const ROUTES: [Shape; 50] = routes! {
    Page: "/" "/search?q={words}&page={page}" "/products/{id}" "/articles/{words}";
    Api: "/api/v1/users/{id}" "/api/v1/items?page={page}&size=50" "/api/v1/orders/{uuid}" "/api/v2/cart" "/health";
    Script: "/assets/app.{hash}.js" "/assets/vendor.{hash}.js" "/static/js/main.js?v={page}";
    Style: "/assets/app.{hash}.css" "/static/css/site.css";
    Image: "/img/{id}.jpg" "/thumbs/{hash}/small.jpg" "/avatars/{uuid}.jpg" "/img/{id}.jpg?w=640&h=480";
    Api: "/api/v1/users/{id}/orders" "/api/v1/users/{id}/orders/{id}" "/api/v1/items/{id}" "/api/v1/items/{id}/reviews?sort=new"
        "/api/v2/cart/lines/{id}" "/api/v2/session" "/api/v2/session/{uuid}" "/api/v2/events" "/graphql" "/api/v1/search?q={words}";
    Page: "/products?category={words}" "/products/{id}/reviews" "/articles" "/articles/{words}/comments?page={page}" "/account"
        "/account/orders/{uuid}" "/about" "/blog/2026/01/{words}" "/tags/{words}" "/login?next=%2Faccount";
    Image: "/banners/{words}.jpg" "/favicon.ico" "/maps/{page}/{id}/{id}.jpg";
    Font: "/fonts/inter-regular.woff2" "/fonts/inter-bold.woff2";
    Download: "/downloads/{words}.zip" "/files/{uuid}" "/exports/{id}?format=csv&compress=1";
    Api: "/api/v1/metrics?from={id}&to={id}&step=60" "/api/v1/uploads/{uuid}" "/rpc/{words}" "/api/v1/notifications?unread=true";
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two() {
        for x in [-3.7, -1.0, 0.0, 0.5, 1.0, 7.3, 16.6] {
            assert!((exp2(x) / f64::exp2(x) - 1.0).abs() < 1e-8, "{x}");
        }
        assert_eq!(exp2(LOG2_SMALLEST).round() as u64, 200);
        assert_eq!(exp2(LOG2_LARGEST).round() as u64, 100_000);
    }

    #[test]
    fn sizes_are_log_uniform() {
        let mut random = Random::new(1);
        let sizes: Vec<u64> =
            (0..20_000).map(|_| log_uniform(LOG2_SMALLEST, LOG2_LARGEST, &mut random)).collect();
        assert!(sizes.iter().all(|size| (200..=100_000).contains(size)));
        // The median of a log-uniform draw is the geometric mean of its ends: 4472.
        let below = sizes.iter().filter(|&&size| size < 4_472).count();
        assert!((9_700..=10_300).contains(&below), "{below}");
    }

    #[test]
    fn compressed_bodies_inflate_and_have_the_sizes_asked_for() {
        let traffic = Traffic::new(&mut Random::new(1));
        for body in &traffic.gzip {
            let mut text = Vec::new();
            std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&body[..]), &mut text).unwrap();
            assert!(text.len() > body.len());
            assert!((200..=100_000).contains(&body.len()), "{}", body.len());
        }
        assert!(traffic.gzip[0].len() < 300 && traffic.gzip[GZIP_BODIES - 1].len() > 80_000);
    }

    #[test]
    fn targets_have_no_braces_left_and_vary() {
        let mut random = Random::new(3);
        for route in &ROUTES {
            let (one, two) = (route.target(&mut random), route.target(&mut random));
            assert!(!one.contains(['{', '}', ' ']), "{one}");
            assert_eq!(one == two, !route.path.contains('{'), "{one} {two}");
        }
    }

    #[test]
    fn dates_are_those_of_the_standard() {
        assert_eq!(http_date(1_768_471_200_000_000_000), "Thu, 15 Jan 2026 10:00:00 GMT");
    }
}
