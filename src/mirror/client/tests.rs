use std::str::FromStr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

/// Answers every request with this text, each on a connection of its own; gives its port.
async fn server(answer: impl Fn(u16) -> String + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
            assert!(head.contains("range: bytes=10-19\r\n") && head.contains("user-agent: orchestra/"), "{head}");
            stream.write_all(answer(port).as_bytes()).await.unwrap();
        }
    });
    port
}

async fn get(url: &str) -> Result<Vec<u8>, Failure> {
    let client = Client::new(&Via::default()).unwrap();
    let mut body = client.get(url.parse().unwrap(), &(10..20), 100).await?;
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < body.len {
        bytes.extend(body.next().await?);
    }
    Ok(bytes)
}

fn never(words: &str) -> Result<Vec<u8>, Failure> {
    Err(Failure::Never(words.to_owned()))
}

#[tokio::test]
async fn a_range_is_asked_for_and_comes() {
    let port = server(|_| {
        "HTTP/1.1 206 x\r\nContent-Length: 10\r\nContent-Range: bytes 10-19/100\r\nConnection: close\r\n\r\n0123456789"
            .to_owned()
    });
    let port = port.await;
    assert_eq!(get(&format!("http://127.0.0.1:{port}/x")).await, Ok(b"0123456789".to_vec()));
    assert_eq!(get(&format!("http://localhost:{port}/x")).await, Ok(b"0123456789".to_vec()));
}

#[tokio::test]
async fn an_answer_that_ends_early_may_be_better_later() {
    let port = server(|_| {
        "HTTP/1.1 206 x\r\nContent-Length: 10\r\nContent-Range: bytes 10-19/100\r\nConnection: close\r\n\r\n01"
            .to_owned()
    });
    let came = get(&format!("http://127.0.0.1:{}/x", port.await)).await;
    assert!(matches!(came, Err(Failure::Later(_))), "{came:?}");
}

#[tokio::test]
async fn redirects_have_an_end() {
    let port =
        server(|port| format!("HTTP/1.1 302 x\r\nLocation: http://127.0.0.1:{port}/x\r\nConnection: close\r\n\r\n"));
    assert_eq!(get(&format!("http://127.0.0.1:{}/x", port.await)).await, never("it redirects more than 5 times"));
    for place in ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://"] {
        let port = server(move |_| format!("HTTP/1.1 301 x\r\nLocation: {place}\r\nConnection: close\r\n\r\n")).await;
        assert_eq!(get(&format!("http://127.0.0.1:{port}/x")).await, never("it redirects to no HTTP address"));
    }
}

#[tokio::test]
async fn no_button_is_pressed_nearby() {
    let port = server(|_| panic!("it was asked")).await;
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"] {
        assert_eq!(get(&format!("http://{host}:{port}/reboot?now=1")).await, never(ONLY_NEAR), "{host}");
    }
    let moved = move |_| format!("HTTP/1.1 302 x\r\nLocation: http://localhost:{port}/reboot?now=1\r\n\r\n");
    let mirror = server(moved).await;
    assert_eq!(get(&format!("http://127.0.0.1:{mirror}/x")).await, never(ONLY_NEAR));
}

#[tokio::test]
async fn from_elsewhere_nothing_leads_to_a_private_address() {
    let port = server(|_| panic!("it was asked")).await;
    let client = Client::new(&Via::default()).unwrap();
    for host in ["127.0.0.1", "localhost", "[::1]", "[::]"] {
        let url = Url::from_str(&format!("http://{host}:{port}/x")).unwrap();
        let asked = client.ask(url, &(10..20), false).await;
        assert_eq!(asked.err(), Some(Failure::Never(ONLY_NEAR.to_owned())), "{host}");
    }
}

/// What a name that has these addresses leads to.
async fn resolved(far: bool, look_up: fn(String) -> Found) -> Result<Vec<String>, String> {
    let addresses = Resolver { far, look_up }.resolve("x.example".parse().unwrap()).await;
    addresses.map(|all| all.map(|address| address.ip().to_string()).collect()).map_err(|error| error.to_string())
}

fn answered(addresses: &'static [&'static str]) -> Found {
    let parsed = addresses.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 0)).collect();
    Box::pin(async move { Ok(parsed) })
}

#[tokio::test]
async fn a_public_name_that_leads_home_leads_nowhere() {
    let mixed: fn(String) -> Found = |_| answered(&["10.0.0.1", "9.9.9.9", "::1", "2620:fe::9"]);
    assert_eq!(resolved(true, mixed).await, Ok(vec!["9.9.9.9".to_owned(), "2620:fe::9".to_owned()]));
    assert_eq!(resolved(false, mixed).await.map(|all| all.len()), Ok(4));
    let near: fn(String) -> Found = |_| answered(&["192.168.0.1", "169.254.169.254", "fe80::1"]);
    assert_eq!(resolved(true, near).await, Err(ONLY_NEAR.to_owned()));
}
