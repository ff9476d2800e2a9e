//! The components that keep a store in Redis, and wake by it, through the host's `spin:redis`.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use futures::future::join_all;
use redis_server::RedisServer;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::support::{Host, manifest_of, options, probe};

/// A host whose store, and whose wakeups, are components that connect to `url`, where they may to `allowed`.
async fn serve(url: &str, allowed: &[&str]) -> Host {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dist");
    let [store, wakeup] = ["keyvalue-redis.wasm", "wakeup-redis.wasm"].map(|name| dist.join(name));
    let more = format!(
        "redis_url = \"{url}\"\nredis_prefix = \"probe:\"\n\
         [component.probe.dependencies]\n\
         \"wasi:keyvalue/store@0.2.0-draft2\" = {{ path = {store:?}, inherit_configuration = true }}\n\
         \"witter:messaging/wakeup@0.1.0\" = {{ path = {wakeup:?}, inherit_configuration = true }}\n"
    );
    let folder = TempDir::new().expect("a folder can be made");
    let mut options = options(&folder);
    options.instances_per_component = Some(1);
    let manifest = manifest_of(&probe()).replace(
        "key_value_stores = [\"default\"]",
        &format!("allowed_outbound_hosts = {allowed:?}"),
    );
    std::fs::write(&options.manifest, manifest + more.as_str())
        .expect("the folder can be written to");
    let running = host::start(options).await.expect("the probe can be served");
    Host::new(running, folder)
}

async fn with(server: &RedisServer) -> Host {
    serve(&server.url(), &[&server.url()]).await
}

#[tokio::test]
async fn a_store_composed_of_redis_keeps_its_laws() {
    let server = RedisServer::start(&[]).expect("Redis starts");
    let host = with(&server).await;
    assert_eq!(host.get("laws").await.body, "kept");
    assert_eq!(
        host.get("open?label=other").await.body,
        "Error::NoSuchStore Error::NoSuchStore"
    );
    // As Spin's own store in Redis has it.
    let value: String = server.ask(&["GET", "probe:a"]).expect("it is there");
    assert_eq!(value, "4");
    let number: String = server.ask(&["GET", "probe:n"]).expect("it is there");
    assert_eq!(number, "-2");
}

#[tokio::test]
async fn of_instances_that_swap_at_once_one_wins_each_time() {
    const EACH: usize = 25;
    let server = RedisServer::start(&[]).expect("Redis starts");
    let hosts = [
        with(&server).await,
        with(&server).await,
        with(&server).await,
    ];
    let counting = (0..EACH).flat_map(|_| hosts.iter().map(|host| host.get("count?key=n")));
    let counted = join_all(counting).await;
    let counted: BTreeSet<usize> = counted
        .iter()
        .map(|response| response.body.parse().expect(&response.body))
        .collect();
    assert_eq!(counted, (1..=EACH * hosts.len()).collect());
}

#[tokio::test]
async fn who_waits_in_one_host_is_woken_by_another() {
    let server = RedisServer::start(&[]).expect("Redis starts");
    let (one, other) = (with(&server).await, with(&server).await);
    let mut connection = one.connect().await;
    connection.get("stream?key=a").await;
    connection.until("open\n").await;
    // To begin to listen wakes those who wait: something may have been told before.
    connection.until("changed\n").await;
    for _ in 0..10 {
        other.get("notify?key=a").await;
        connection.until("changed\n").await;
    }
    // And by its own host, without asking Redis.
    one.get("notify?key=a").await;
    connection.until("changed\n").await;
}

#[tokio::test]
async fn who_waits_is_woken_when_redis_is_back() {
    let mut server = RedisServer::start(&[]).expect("Redis starts");
    let (one, other) = (with(&server).await, with(&server).await);
    let mut connection = one.connect().await;
    connection.get("stream?key=a").await;
    connection.until("changed\n").await;
    server.kill().expect("it runs");
    connection.until("changed\n").await;
    let refused = other.get("count?key=n").await.body;
    assert!(refused.contains("redis: "), "{refused}");
    server.restart().expect("Redis starts");
    connection.until("changed\n").await;
    assert_eq!(other.get("count?key=n").await.body, "1");
    other.get("notify?key=a").await;
    connection.until("changed\n").await;
}

#[tokio::test]
async fn a_component_connects_to_where_its_manifest_lets_it() {
    let server = RedisServer::start(&[]).expect("Redis starts");
    let url = format!("redis://user:secret@{}", server.address());
    let others = [
        "http://127.0.0.1:*",
        "rediss://127.0.0.1:*",
        "redis://127.0.0.1:1",
        "redis://localhost:*",
    ];
    for allowed in [&[], &others[..]] {
        let host = serve(&url, allowed).await;
        let refused = host.get("count?key=n").await.body;
        let expected = "redis_url is no address of Redis, or its host is not among";
        assert!(refused.contains(expected), "{allowed:?}: {refused}");
        assert!(!refused.contains("secret"), "{allowed:?}: {refused}");
    }
    let host = serve("127.0.0.1", &["redis://*:*"]).await;
    let refused = host.get("open?label=default").await.body;
    assert!(refused.contains("redis_url begins neither"), "{refused}");
}

#[tokio::test]
async fn a_redis_that_is_silent_holds_an_instance_once() {
    /// Each would hold it for ten seconds.
    const OTHERS: usize = 8;
    let server = RedisServer::start(&[]).expect("Redis starts");
    let host = with(&server).await;
    assert_eq!(host.get("count?key=n").await.body, "1");
    server.pause().expect("it runs");
    let refused = host.get("count?key=n").await.body;
    assert!(refused.contains("redis: "), "{refused}");
    let begun = Instant::now();
    for refused in join_all((0..OTHERS).map(|_| host.get("count?key=n"))).await {
        assert!(refused.body.contains("redis: "), "{}", refused.body);
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
    server.resume().expect("it runs");
    let again = async {
        loop {
            let counted = host.get("count?key=n").await.body;
            if !counted.contains("redis: ") {
                return counted;
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    let counted = timeout(Duration::from_secs(60), again).await;
    let counted: usize = counted
        .expect("it is asked again")
        .parse()
        .expect("it counts");
    assert!(counted >= 2, "{counted}");
}
