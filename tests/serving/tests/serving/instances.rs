//! Instances: who shares one, and what happens to the others when one ends.

use std::time::Duration;

use crate::support::{Connection, Host, serve};
use host::Options;

/// Two channels whose readers are in different instances.
async fn two_channels(host: &Host) -> (String, String) {
    let first = "0".to_owned();
    let here = host.get("instance?channel=0").await.body;
    for other in 1..100 {
        if host.get(&format!("instance?channel={other}")).await.body != here {
            return (first, other.to_string());
        }
    }
    panic!("a hundred channels share one of two instances");
}

async fn reader(host: &Host, path: &str) -> Connection {
    let mut connection = host.connect().await;
    connection.get(path).await;
    connection.until("open\n").await;
    connection
}

fn two_instances(options: &mut Options) {
    options.instances_per_component = Some(2);
}

fn from(client: &str, path: &str) -> String {
    format!("GET /probe/{path} HTTP/1.1\r\nconnection: close\r\nx-forwarded-for: {client}\r\n\r\n")
}

fn behind_a_proxy(options: &mut Options) {
    options.instances_per_component = Some(1);
    options.connections.trusted_proxies = vec!["127.0.0.1/32".parse().expect("a network")];
}

#[tokio::test]
async fn whoever_names_a_channel_shares_its_instance() {
    let host = serve(two_instances).await;
    let (one, other) = two_channels(&host).await;
    for channel in [&one, &other] {
        let first = host.get(&format!("instance?channel={channel}")).await.body;
        for query in ["&channel=x", "&after=y", ""] {
            let again = host
                .get(&format!("instance?channel={channel}{query}"))
                .await
                .body;
            assert_eq!(again, first);
        }
        let before = host
            .get(&format!("instance?after=y&channel={channel}"))
            .await
            .body;
        assert_eq!(before, first);
    }
}

#[tokio::test]
async fn one_instance_takes_thousands_of_requests() {
    let host = serve(|options| options.instances_per_component = Some(1)).await;
    let instance = host.get("instance").await.body;
    let mut waiting = Vec::new();
    for _ in 0..1000 {
        let mut connection = host.connect().await;
        connection.get("hang").await;
        waiting.push(connection);
    }
    assert_eq!(host.get("instance").await.body, instance);
}

#[tokio::test]
async fn a_trap_takes_the_requests_of_its_instance_and_no_others() {
    let host = serve(two_instances).await;
    let (one, other) = two_channels(&host).await;
    let mut cut = reader(&host, &format!("stream?channel={one}&key=a")).await;
    let mut kept = reader(&host, &format!("stream?channel={other}&key=a")).await;
    let mut unanswered = host.connect().await;
    unanswered.get(&format!("hang?channel={one}")).await;
    // The one before has arrived when this is answered.
    let before = host.get(&format!("instance?channel={one}")).await.body;

    let trapped = host.get(&format!("trap?channel={one}")).await;
    for response in [trapped, unanswered.response().await] {
        assert_eq!(response.status, 503);
        assert_eq!(
            response.body,
            r#"{"error":"unavailable","detail":"the component's instance ended, another one is there"}"#
        );
        assert_eq!(response.header("retry-after"), Some("1"));
    }
    // No last chunk: the reader must not take this for an end that was meant.
    assert!(!cut.rest().await.contains("0\r\n\r\n"));
    host.get("notify?key=a").await;
    kept.until("changed\n").await;
    let after = host.get(&format!("instance?channel={one}")).await;
    assert_eq!(after.status, 200);
    assert_ne!(after.body, before);
}

#[tokio::test]
async fn a_trap_behind_the_head_breaks_the_body_off() {
    let host = serve(|_| {}).await;
    let mut connection = reader(&host, "stream-then-trap?channel=x&key=k").await;
    host.get("notify?key=k").await;
    assert!(!connection.rest().await.contains("0\r\n\r\n"));
    assert_eq!(host.get("hello?channel=x").await.body, "hello");
}

#[tokio::test]
async fn a_trap_before_the_first_bytes_is_told() {
    let host = serve(|_| {}).await;
    // A head does not wait for its body for long; on a busy machine it may have been long.
    let mut told = host.get("silent-then-trap?channel=x&key=k").await;
    for _ in 0..10 {
        if told.status == 503 {
            break;
        }
        told = host.get("silent-then-trap?channel=x&key=k").await;
    }
    assert_eq!(told.status, 503, "{told:?}");
    assert!(
        told.whole && told.body.contains("instance ended"),
        "{told:?}"
    );
    assert_eq!(host.get("hello?channel=x").await.body, "hello");
}

#[tokio::test]
async fn who_traps_again_and_again_traps_alone() {
    let host = serve(behind_a_proxy).await;
    assert_eq!(host.ask(&from("198.51.100.1", "trap")).await.status, 503);
    let mut others = host.connect().await;
    others
        .send(from("198.51.100.2", "stream?key=a").as_bytes())
        .await;
    others.until("open\n").await;
    let instance = host.ask(&from("198.51.100.2", "instance")).await.body;
    for _ in 0..5 {
        assert_eq!(host.ask(&from("198.51.100.1", "trap")).await.status, 503);
        // Served all the same, elsewhere.
        let apart = host.ask(&from("198.51.100.1", "instance")).await;
        assert_eq!(apart.status, 200);
        assert_ne!(apart.body, instance);
    }
    assert_eq!(
        host.ask(&from("198.51.100.2", "instance")).await.body,
        instance
    );
    host.get("notify?key=a").await;
    others.until("changed\n").await;
}

#[tokio::test]
async fn who_only_waited_beside_a_trap_is_served_too() {
    let host = serve(behind_a_proxy).await;
    let mut waiting = host.connect().await;
    waiting.send(from("198.51.100.2", "hang").as_bytes()).await;
    host.ask(&from("198.51.100.2", "hello")).await;
    assert_eq!(host.ask(&from("198.51.100.1", "trap")).await.status, 503);
    assert_eq!(waiting.response().await.status, 503);
    assert_eq!(host.ask(&from("198.51.100.2", "hello")).await.body, "hello");
}

#[tokio::test]
async fn what_computes_for_too_long_is_ended() {
    let host = serve(|options| {
        two_instances(options);
        options.guest_timeout = Duration::from_millis(300);
    })
    .await;
    let (one, other) = two_channels(&host).await;
    let mut runaway = host.connect().await;
    runaway.get(&format!("spin?channel={one}")).await;
    // The rest of the host goes on meanwhile.
    assert_eq!(
        host.get(&format!("hello?channel={other}")).await.body,
        "hello"
    );
    assert_eq!(runaway.response().await.status, 503);
    assert_eq!(
        host.get(&format!("hello?channel={one}")).await.body,
        "hello"
    );
}

#[tokio::test]
async fn what_returns_in_time_may_compute_as_often_as_it_likes() {
    let host = serve(|options| {
        options.instances_per_component = Some(1);
        options.guest_timeout = Duration::from_millis(500);
    })
    .await;
    let instance = host.get("instance").await.body;
    for _ in 0..10 {
        assert_eq!(host.get("compute?milliseconds=100").await.status, 200);
    }
    assert_eq!(host.get("instance").await.body, instance);
}

#[tokio::test]
async fn an_instance_has_only_so_much_memory() {
    let host = serve(|options| options.instance_memory = 16 << 20).await;
    assert_eq!(host.get("allocate?bytes=4000000").await.body, "4000000");
    assert_eq!(host.get("allocate?bytes=40000000").await.status, 503);
    assert_eq!(host.get("hello").await.body, "hello");
}

#[tokio::test]
async fn a_long_head_of_a_response_is_no_harm() {
    let host = serve(|_| {}).await;
    let response = host.get("long-head?bytes=60000").await;
    assert_eq!((response.status, response.head.len() > 60_000), (200, true));
    let longer = host.get("long-head?bytes=1000000").await;
    assert!([200, 503].contains(&longer.status), "{longer:?}");
    assert_eq!(host.get("hello").await.body, "hello");
}
