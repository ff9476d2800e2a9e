//! Readers that leave, and hosts that stop.

use std::time::{Duration, Instant};

use crate::support::{Connection, Host, serve};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpStream;

async fn reader(host: &Host, path: &str) -> Connection {
    let mut connection = host.connect().await;
    connection.get(path).await;
    connection.until("open\n").await;
    connection
}

/// Waits until the probe has written that the reader of its key left, which is noticed within two seconds where the
/// machine has nothing else to do.
pub(crate) async fn until_left(host: &Host, key: &str) {
    let begin = Instant::now();
    while host.get(&format!("get?key={key}")).await.body != "left" {
        assert!(
            begin.elapsed() < Duration::from_secs(15),
            "nobody noticed that the reader of {key} left"
        );
    }
}

#[tokio::test]
async fn a_reader_that_closes_is_noticed() {
    let host = serve(|_| {}).await;
    drop(reader(&host, "stream?key=closed").await);
    until_left(&host, "closed").await;
}

#[tokio::test]
async fn a_reader_that_resets_is_noticed() {
    let host = serve(|_| {}).await;
    let connection = reader(&host, "stream?key=reset").await;
    connection.reset();
    until_left(&host, "reset").await;
}

#[tokio::test]
async fn a_reader_that_only_says_no_more_is_noticed() {
    let host = serve(|_| {}).await;
    let mut connection = reader(&host, "stream?key=shut").await;
    tokio::io::AsyncWriteExt::shutdown(&mut connection.stream)
        .await
        .expect("a socket can be shut");
    until_left(&host, "shut").await;
}

#[tokio::test]
async fn a_reader_of_http_1_0_is_served_until_it_leaves() {
    let host = serve(|_| {}).await;
    let mut connection = host.connect().await;
    connection
        .send(b"GET /probe/stream?key=old HTTP/1.0\r\n\r\n")
        .await;
    connection.until("open\n").await;
    host.get("notify?key=old").await;
    connection.until("changed\n").await;
    drop(connection);
    until_left(&host, "old").await;
}

#[tokio::test]
async fn a_reader_that_leaves_a_stream_of_http_2_is_noticed() {
    let host = serve(|_| {}).await;
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http::<Empty<Bytes>>();
    let uri = format!("http://{}/probe/stream?key=two", host.running.address());
    let mut response = client
        .get(uri.parse().expect("a URI"))
        .await
        .expect("the host answers");
    let open = response.frame().await.expect("the stream goes on");
    assert_eq!(
        open.expect("the stream goes on").into_data().ok(),
        Some(Bytes::from("open\n"))
    );
    drop(response);
    until_left(&host, "two").await;
}

#[tokio::test]
async fn a_host_that_stops_lets_streams_end_in_order() {
    let host = serve(|options| options.connections.stop_timeout = Duration::from_secs(60)).await;
    let mut streams = Vec::new();
    for number in 0..20 {
        streams.push(reader(&host, &format!("stream?channel={number}&key=a")).await);
    }
    let mut silent = host.connect().await;
    silent.get("hello").await;
    silent.response().await;
    let address = host.running.address();

    let stopped = tokio::spawn(host.running.shutdown());
    for mut stream in streams {
        // Its last chunk too, and then the connection's end.
        let rest = stream.rest().await;
        assert!(rest.ends_with("closing\n\r\n0\r\n\r\n"), "{rest:?}");
    }
    assert_eq!(silent.rest().await, "");
    stopped.await.expect("it stops");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn what_does_not_end_is_cut_off() {
    let host = serve(|options| options.connections.stop_timeout = Duration::from_millis(100)).await;
    let mut hanging = host.connect().await;
    hanging.get("hang").await;
    host.get("hello").await;
    host.running.shutdown().await;
    assert_eq!(hanging.rest().await, "");
}
