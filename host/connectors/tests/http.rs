//! The HTTP client of plugins against a real server on loopback: slow, failing, oversized, sending on, elsewhere.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use weir_connectors::http::{AllowedHost, CALL_RESPONSE_BYTES, CacheSettings, HttpClient, HttpSettings};
use weir_connectors::tls;
use weir_services::certificates::{Authority, Good};
use weir_services::http::{HttpServer, Seen, response};
use weir_stream::{Fetch, FetchError, FetchMethod, FetchRequest, Fetched};

fn server(handler: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static) -> HttpServer {
    HttpServer::start(handler).unwrap()
}

fn settings(servers: &[&HttpServer]) -> HttpSettings {
    HttpSettings {
        allow: servers.iter().map(|server| format!("127.0.0.1:{}", server.port).parse().unwrap()).collect(),
        private: false,
        concurrency: 4,
        timeout: Duration::from_secs(5),
        total: Duration::from_secs(20),
        retries: 2,
        response_bytes: 1 << 20,
        cache: None,
        trust: tls::trust(None).unwrap(),
    }
}

fn get(url: impl Into<String>) -> FetchRequest {
    FetchRequest { method: FetchMethod::Get, url: url.into(), headers: Vec::new(), body: Vec::new() }
}

fn fetch(client: &HttpClient, requests: Vec<FetchRequest>) -> Vec<Fetched> {
    client.fetch(requests, &mut client.budget())
}

fn one(client: &HttpClient, request: FetchRequest) -> Fetched {
    fetch(client, vec![request]).remove(0)
}

fn text(fetched: &Fetched) -> String {
    match fetched {
        Ok(response) => format!("{} {}", response.status, String::from_utf8_lossy(&response.body)),
        Err(error) => error.to_string(),
    }
}

#[test]
fn answers_come_in_the_order_of_the_requests_and_so_many_are_asked_at_once() {
    let server = server(|seen| {
        let number: u64 = seen.path[1..].parse().unwrap();
        std::thread::sleep(Duration::from_millis(40 - number * 2));
        response(200, "", format!("answer {number}"))
    });
    let client = HttpClient::new(settings(&[&server]));
    let answers = fetch(&client, (0..16).map(|number| get(server.url(&format!("/{number}")))).collect());
    let wanted: Vec<String> = (0..16).map(|number| format!("200 answer {number}")).collect();
    assert_eq!(answers.iter().map(text).collect::<Vec<_>>(), wanted);
    assert_eq!(server.most_at_once(), 4, "as many as `concurrency` allows");
}

#[test]
fn equal_gets_of_a_call_are_asked_once_and_posts_each() {
    let server = server(|seen| response(200, "", [seen.method.as_bytes(), b" ", &seen.body].concat()));
    let client = HttpClient::new(settings(&[&server]));
    let post = |body: &str| FetchRequest {
        method: FetchMethod::Post,
        body: body.as_bytes().to_vec(),
        headers: vec![("X-Token".into(), "t".into())],
        ..get(server.url("/p"))
    };
    let url = server.url("/g");
    let answers = fetch(&client, vec![get(&url), post("a"), get(&url), post("a"), get(&url)]);
    assert_eq!(
        answers.iter().map(text).collect::<Vec<_>>(),
        ["200 GET ", "200 POST a", "200 GET ", "200 POST a", "200 GET "]
    );
    let mut paths = server.paths();
    paths.sort();
    assert_eq!(paths, ["/g", "/p", "/p"]);
    assert!(server.seen().iter().filter(|seen| seen.method == "POST").all(|seen| seen.headers["x-token"] == "t"));
}

#[test]
fn a_service_that_fails_is_asked_again_and_then_its_answer_stands() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let server = server(move |seen| match seen.path.as_str() {
        "/recovers" if count.fetch_add(1, Ordering::SeqCst) < 2 => response(503, "", "busy"),
        "/recovers" => response(200, "", "at last"),
        "/never" => response(503, "retry-after: 18446744073709551615\r\n", "later"),
        _ => response(500, "", "broken"),
    });
    let client = HttpClient::new(settings(&[&server]));
    assert_eq!(text(&one(&client, get(server.url("/recovers")))), "200 at last");
    assert_eq!(text(&one(&client, get(server.url("/broken")))), "500 broken");
    assert_eq!(text(&one(&client, get(server.url("/never")))), "503 later", "it asks to wait beyond the call's time");
    let post = FetchRequest { method: FetchMethod::Post, ..get(server.url("/post")) };
    assert_eq!(text(&one(&client, post)), "500 broken");
    let paths = server.paths();
    let times = |path: &str| paths.iter().filter(|seen| *seen == path).count();
    assert_eq!((times("/recovers"), times("/broken"), times("/post")), (3, 3, 1), "a POST is never made twice");
}

#[test]
fn a_slow_service_costs_one_try_its_time_and_a_call_no_more_than_its_own() {
    let server = server(|_| {
        std::thread::sleep(Duration::from_secs(4));
        response(200, "", "late")
    });
    let slow = HttpSettings { timeout: Duration::from_millis(60), retries: 1, ..settings(&[&server]) };
    let start = Instant::now();
    let fetched = one(&HttpClient::new(slow.clone()), get(server.url("/")));
    assert_eq!(text(&fetched), format!("{}: no answer within 60 ms", server.url("/")));
    assert!(matches!(fetched, Err(FetchError::Timeout(_))));
    assert_eq!(server.paths().len(), 2);
    assert!(start.elapsed() < Duration::from_millis(3900), "{:?}", start.elapsed());

    let bounded = HttpSettings { total: Duration::from_millis(300), concurrency: 1, ..slow };
    let start = Instant::now();
    let answers = fetch(&HttpClient::new(bounded), (0..100).map(|n| get(server.url(&format!("/{n}")))).collect());
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert!(answers.iter().all(|answer| matches!(answer, Err(FetchError::Timeout(_)))));
    assert!(text(&answers[99]).ends_with("the time for all requests of the call is over"), "{}", text(&answers[99]));
}

#[test]
fn a_response_that_is_too_large_is_cut_off_and_so_are_too_many_large_ones() {
    let server = server(|seen| match seen.path.as_str() {
        // Without a length: only reading tells.
        "/endless" => [b"HTTP/1.1 200 X\r\nconnection: close\r\n\r\n".to_vec(), vec![b'x'; 4 << 20]].concat(),
        _ => response(200, "", vec![b'x'; 1 << 20]),
    });
    let client = HttpClient::new(HttpSettings { response_bytes: (1 << 20) - 1, ..settings(&[&server]) });
    for path in ["/large", "/endless"] {
        let fetched = one(&client, get(server.url(path)));
        assert_eq!(text(&fetched), format!("{}: the response has more than 1048575 bytes", server.url(path)));
    }
    let client = HttpClient::new(settings(&[&server]));
    let asked = CALL_RESPONSE_BYTES / (1 << 20) + 8;
    let answers = fetch(&client, (0..asked).map(|n| get(server.url(&format!("/{n}")))).collect());
    let whole = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!((1..=asked - 8).contains(&whole), "{whole} of {asked}");
    assert!(answers.iter().all(|answer| matches!(answer, Ok(_) | Err(FetchError::TooLarge(_)))));
    let same = fetch(&client, (0..asked).map(|_| get(server.url("/same"))).collect());
    assert_eq!(same.iter().filter(|answer| answer.is_ok()).count(), asked - 8, "given out often counts often");
}

#[test]
fn a_host_that_is_not_allowed_is_never_asked() {
    let (allowed, other) = (server(|_| response(200, "", "")), server(|_| response(200, "", "")));
    let client = HttpClient::new(settings(&[&allowed]));
    let refused = |url: String| match one(&client, get(url)) {
        Err(FetchError::NotAllowed(why)) => why,
        other => panic!("{other:?}"),
    };
    let host = format!("127.0.0.1:{}", other.port);
    assert_eq!(refused(other.url("/x")), format!("{}: {host} is not among the step's `http.allow`", other.url("/x")));
    assert!(refused(format!("http://127.0.0.1:{}@{host}/", allowed.port)).contains("a name or password"));
    assert!(refused(format!("http://localhost:{}/", allowed.port)).contains("localhost"));
    assert!(refused("file:///etc/passwd".into()).contains("only http and https"));
    assert!(refused("no address".into()).contains("relative URL"));
    assert_eq!(other.paths(), [""; 0]);
}

#[test]
fn a_name_with_a_private_address_is_not_asked_unless_that_is_allowed() {
    let server = server(|_| response(200, "", "inside"));
    let name: AllowedHost = format!("localhost:{}", server.port).parse().unwrap();
    let guarded = HttpSettings { allow: vec![name], ..settings(&[]) };
    let url = format!("http://localhost:{}/", server.port);
    let fetched = one(&HttpClient::new(guarded.clone()), get(&url));
    assert!(matches!(&fetched, Err(FetchError::NotAllowed(why)) if why.contains("private network")), "{fetched:?}");
    assert_eq!(server.paths(), [""; 0]);
    let open = HttpClient::new(HttpSettings { private: true, ..guarded });
    assert_eq!(text(&one(&open, get(&url))), "200 inside");
}

#[test]
fn a_redirect_is_followed_to_allowed_hosts_only_and_takes_no_secret_along() {
    let elsewhere = server(|_| response(200, "", "elsewhere"));
    let (forbidden, port) = (server(|_| response(200, "", "")), elsewhere.port);
    let forbidden_port = forbidden.port;
    let server = server(move |seen| match seen.path.as_str() {
        "/near" => response(302, "location: /here\r\n", ""),
        "/here" => response(200, "", "here"),
        "/far" => response(307, &format!("location: http://127.0.0.1:{port}/\r\n"), ""),
        "/forbidden" => response(301, &format!("location: http://127.0.0.1:{forbidden_port}/\r\n"), ""),
        "/round" => response(302, "location: /round\r\n", ""),
        _ => response(302, "location: http://169.254.169.254/latest\r\n", ""),
    });
    let client = HttpClient::new(settings(&[&server, &elsewhere]));
    let asked = |path: &str| {
        let headers = vec![("authorization".to_owned(), "secret".to_owned())];
        one(&client, FetchRequest { headers, ..get(server.url(path)) })
    };
    assert_eq!(text(&asked("/near")), "200 here");
    assert!(server.seen().iter().all(|seen| seen.headers["authorization"] == "secret"));
    assert_eq!(text(&asked("/far")), "200 elsewhere");
    assert!(!elsewhere.seen()[0].headers.contains_key("authorization"));
    let refused = asked("/forbidden");
    assert!(matches!(&refused, Err(FetchError::NotAllowed(why)) if why.contains("sends on to")), "{refused:?}");
    assert!(matches!(asked("/metadata"), Err(FetchError::NotAllowed(_))));
    assert_eq!(forbidden.paths(), [""; 0]);
    assert!(text(&asked("/round")).ends_with("sent on more than 5 times"));
    let post = FetchRequest { method: FetchMethod::Post, ..get(server.url("/near")) };
    assert_eq!(text(&one(&client, post)), "302 ", "what changes something is not sent on");
}

#[test]
fn an_answer_in_the_cache_is_not_asked_for_again_until_its_time_is_over() {
    let server = server(|seen| match seen.path.as_str() {
        "/fails" => response(500, "", "x"),
        _ => response(200, "", "y"),
    });
    let cache = Some(CacheSettings { rows: 10, ttl: Duration::from_secs(60) });
    let client = HttpClient::new(HttpSettings { cache, retries: 0, ..settings(&[&server]) });
    for _ in 0..3 {
        assert_eq!(text(&one(&client, get(server.url("/a")))), "200 y");
        assert_eq!(text(&one(&client, get(server.url("/fails")))), "500 x");
    }
    assert_eq!(server.paths(), ["/a", "/fails", "/fails", "/fails"]);
}

#[test]
fn a_service_that_is_away_is_an_error_and_not_a_wait() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let allow = vec![format!("127.0.0.1:{port}").parse().unwrap()];
    let client = HttpClient::new(HttpSettings { allow, ..settings(&[]) });
    let fetched = one(&client, get(format!("http://127.0.0.1:{port}/")));
    assert!(matches!(fetched, Err(FetchError::Failed(_))), "{fetched:?}");
}

#[test]
fn a_server_is_asked_over_tls_if_its_certificate_is_of_a_trusted_authority() {
    let (ours, folder) = (Authority::new("ours").unwrap(), tempfile::tempdir().unwrap());
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, ours.pem()).unwrap();
    let trust = tls::trust(Some(&file)).unwrap();
    let serve = |authority: &Authority, names: &[&str], good| {
        let config = authority.sign(names, good).unwrap().server().unwrap();
        HttpServer::start_tls(config, |_| response(200, "", "over TLS")).unwrap()
    };
    let asked = |server: &HttpServer, trust: &ureq::tls::TlsConfig| {
        let settings = HttpSettings { trust: trust.clone(), ..settings(&[server]) };
        text(&one(&HttpClient::new(settings), get(server.url("/x"))))
    };
    let good = serve(&ours, &["127.0.0.1"], Good::Now);
    assert_eq!(asked(&good, &trust), "200 over TLS");
    let next = "name the authority's file as `http.ca`, if the server is the right one";
    let refused = |server: &HttpServer, trust: &ureq::tls::TlsConfig, why: &str| {
        assert_eq!(asked(server, trust), format!("{}: {why}; {next}", server.url("/x")));
        assert_eq!(server.paths(), [""; 0], "nothing was asked");
    };
    for name in ["theirs", "ours"] {
        let strange = serve(&Authority::new(name).unwrap(), &["127.0.0.1"], Good::Now);
        refused(&strange, &trust, "the server's certificate is of an authority that is not trusted");
    }
    let unknown = serve(&ours, &["127.0.0.1"], Good::Now);
    refused(&unknown, &tls::trust(None).unwrap(), "the server's certificate is of an authority that is not trusted");
    refused(&serve(&ours, &["127.0.0.1"], Good::Before), &trust, "the server's certificate has expired");
    refused(&serve(&ours, &["127.0.0.1"], Good::Later), &trust, "the server's certificate is not good yet");
    refused(&serve(&ours, &["rates.example"], Good::Now), &trust, "the server's certificate is for another name");
}
