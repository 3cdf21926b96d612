//! The example `shop`: its sessions decide who reads which channel.

#[path = "../examples/shop/main.rs"]
#[expect(dead_code, reason = "`main` is the example's own")]
mod shop;

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

async fn serve() -> Outcome<SocketAddr> {
    let shop = shop::Shop::default();
    let channels = shop::channels(&shop)?;
    let app = shop::app(shop, &channels).into_make_service_with_connect_info::<SocketAddr>();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        let _channels = channels;
        axum::serve(listener, app).await
    });
    Ok(address)
}

/// Sends a request, whose response may go on.
async fn send(address: SocketAddr, line: &str, cookie: &str, body: &str) -> Outcome<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    let head =
        format!("{line} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nCookie: {cookie}\r\n");
    let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await?;
    Ok(stream)
}

/// The response to the request.
async fn ask(address: SocketAddr, line: &str, cookie: &str, body: &str) -> Outcome<String> {
    let mut answer = String::new();
    send(address, line, cookie, body).await?.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Signs in, and gives the cookie.
async fn sign_in(address: SocketAddr, name: &str) -> Outcome<String> {
    let answer = ask(address, "POST /sign-in", "", name).await?;
    let (_, cookie) = answer.split_once("set-cookie: ").ok_or("no cookie")?;
    Ok(cookie.split(';').next().unwrap_or_default().to_owned())
}

/// Reads until this has come.
async fn read_until(stream: &mut TcpStream, text: &str) -> Outcome<String> {
    let (mut came, mut buffer) = (String::new(), [0; 4096]);
    while !came.contains(text) {
        match stream.read(&mut buffer).await? {
            0 => return Err(format!("{text} did not come: {came}").into()),
            length => came.push_str(&String::from_utf8_lossy(&buffer[..length])),
        }
    }
    Ok(came)
}

#[tokio::test]
async fn a_customer_follows_its_own_orders_until_it_signs_out() -> Outcome {
    let address = serve().await?;
    let (ann, ben) = (sign_in(address, "ann").await?, sign_in(address, "ben").await?);
    let mut orders = send(address, "GET /live/c/orders:ann?stream=sse", &ann, "").await?;
    read_until(&mut orders, "retry:").await?;
    assert!(ask(address, "POST /orders", &ann, "a \"hat\"").await?.starts_with("HTTP/1.1 202 "));
    let came = read_until(&mut orders, "sent").await?;
    for step in shop::STEPS {
        assert!(came.contains(&format!("\"step\":\"{step}\"")), "{step}: {came}");
    }
    for (line, cookie, status) in [
        ("GET /live/c/orders:ann", "", "401"),
        ("GET /live/c/orders:ann", "session=1", "401"),
        ("GET /live/c/orders:ann", &*ben, "403"),
        ("GET /live/c/orders:ann,orders:ben", &*ben, "403"),
        ("GET /live/c/orders:ben", &*ben, "200"),
        ("POST /live/c/orders:ann", &*ann, "403"),
        ("GET /live/c/orders:ann/presence", &*ann, "403"),
        ("GET /live/", &*ann, "404"),
    ] {
        let answer = ask(address, line, cookie, "").await?;
        assert_eq!(&answer[9..12], status, "{line}: {answer}");
    }
    ask(address, "POST /sign-out", &ann, "").await?;
    // The stream ends, though it was open before.
    orders.read_to_end(&mut Vec::new()).await?;
    let answer = ask(address, "GET /live/c/orders:ann", &ann, "").await?;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    Ok(())
}
