//! A component that behaves, and misbehaves, as the path of the request says. The tests of the host send
//! it what a component of ours would never do.

mod bindings;
mod store;

use std::future::pending;
use std::process::abort;

use bindings::witter::messaging::wakeup::{Outcome, Watch, notify};
use wasip3::clocks::monotonic_clock;
use wasip3::http::types::{ErrorCode, Fields, Method, Request, Response};
use wasip3::{wit_future, wit_stream};
use wit_bindgen::{FutureReader, StreamReader, StreamResult, StreamWriter, spawn_local};

mod component {
    use wasip3::http::types::{ErrorCode, Request, Response};

    struct Component;

    impl wasip3::exports::http::handler::Guest for Component {
        async fn handle(request: Request) -> Result<Response, ErrorCode> {
            super::handle(request).await
        }
    }

    wasip3::http::service::export!(Component);
}

async fn handle(request: Request) -> Result<Response, ErrorCode> {
    let target = request.get_path_with_query().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let word = query
        .rsplit_once('=')
        .map_or("", |(_, value)| value)
        .to_owned();
    let number = word.parse::<usize>().unwrap_or_default();
    Ok(match path.rsplit('/').next().unwrap_or_default() {
        "hello" => text(b"hello".to_vec()),
        // What arrived: the authority, the method, the target, then a header a line.
        "head" => {
            let mut lines = format!("{} {} {target}\n", authority(&request), method(&request));
            for (name, value) in request.get_headers().copy_all() {
                lines += &format!("{name}: {}\n", String::from_utf8_lossy(&value));
            }
            text(lines.into_bytes())
        }
        "echo" => text(body(request).await),
        "length" => text(body(request).await.len().to_string().into_bytes()),
        // An answer that tells instances apart.
        "instance" => text(instance().to_string().into_bytes()),
        "print" => {
            println!("printed {word}");
            text(Vec::new())
        }
        "variable" => text(store::variable(&word).await.into_bytes()),
        "laws" => text(store::laws().await.into_bytes()),
        "open" => text(store::open(&word).await.into_bytes()),
        "get" => text(store::get(&word)),
        // The value that this request, and no other, made of a number.
        "count" => text(store::count(&word).into_bytes()),
        "notify" => {
            notify(&word);
            text(Vec::new())
        }
        "error" => return Err(ErrorCode::InternalError(None)),
        "trap" => abort(),
        "spin" => spin(),
        // Computes for a while, and comes back.
        "compute" => text(compute(number as u64).to_string().into_bytes()),
        "allocate" => text(vec![1_u8; number].len().to_string().into_bytes()),
        "hang" => pending().await,
        "long-head" => {
            let fields = Fields::new();
            let _ = fields.set("x-long", &[vec![b'x'; number]]);
            respond(fields, Vec::new())
        }
        "short-body" => {
            let fields = Fields::new();
            let _ = fields.set("content-length", &[b"9".to_vec()]);
            respond(fields, b"short".to_vec())
        }
        // A line at once, then one for each notification of the key, until the reader leaves, which is
        // written to the store, or the host stops, which is told in a line.
        "stream" => stream(|writer| watch(writer, word.clone())),
        // Nothing, until the key is notified.
        "silent" => stream(async move |mut writer: StreamWriter<u8>| {
            Watch::new(&word).wait(0, 60_000).await;
            writer.write_all(b"late".to_vec()).await;
        }),
        "silent-then-trap" => stream(async move |_| {
            Watch::new(&word).wait(0, 10).await;
            abort()
        }),
        "stream-then-trap" => stream(async move |mut writer: StreamWriter<u8>| {
            writer.write_all(b"open\n".to_vec()).await;
            let watch = Watch::new(&word);
            watch.wait(0, 60_000).await;
            abort()
        }),
        // What an upgraded connection sends comes back, once the key is notified where there is one; then a
        // word that tells how the bytes ended, which is written to the store too.
        "duplex" if is_upgrade(&request) => duplex(request, word),
        "duplex" => with_status(426, text(Vec::new())),
        "duplex-then-trap" => stream(async move |mut writer: StreamWriter<u8>| {
            writer.write_all(b"open\n".to_vec()).await;
            let (mut received, _ended) = take_body(request);
            received.read(Vec::with_capacity(1)).await;
            abort()
        }),
        // A response of that status.
        "status" => with_status(number as u16, text(b"as you like".to_vec())),
        // That many frames, as fast as they are taken.
        "flood" => stream(async move |mut writer: StreamWriter<u8>| {
            for _ in 0..number {
                if !writer
                    .write_all(b"data: 0123456789012345678901234567890123456789\n\n".to_vec())
                    .await
                    .is_empty()
                {
                    return;
                }
            }
        }),
        _ => with_status(404, text(b"the probe does not know that".to_vec())),
    })
}

fn is_upgrade(request: &Request) -> bool {
    let marks = request.get_headers().get("witter-upgrade");
    matches!(request.get_method(), Method::Post)
        && matches!(&marks[..], [mark] if mark.starts_with(b"websocket"))
}

fn duplex(request: Request, key: String) -> Response {
    let (mut received, ended) = take_body(request);
    stream(async move |mut writer: StreamWriter<u8>| {
        if !key.is_empty() {
            writer.write_all(b"open\n".to_vec()).await;
            Watch::new(&key).wait(0, 60_000).await;
        }
        loop {
            let (result, bytes) = received.read(Vec::with_capacity(1 << 12)).await;
            if matches!(result, StreamResult::Dropped) {
                break;
            }
            if !writer.write_all(bytes).await.is_empty() {
                return;
            }
        }
        let word = match ended.await {
            Ok(_) => "ended",
            Err(_) => "broken",
        };
        store::set(&key, word);
        writer.write_all(word.as_bytes().to_vec()).await;
    })
}

/// Writes until the reader has left.
async fn watch(mut writer: StreamWriter<u8>, key: String) {
    let watch = Watch::new(&key);
    let mut line: &[u8] = b"open\n";
    loop {
        if matches!(
            writer.write(line.to_vec()).await,
            (StreamResult::Dropped, _)
        ) {
            store::set(&key, "left");
            return;
        }
        line = match watch.wait(0, 200).await {
            Outcome::Changed => b"changed\n",
            // Writes nothing, and learns whether anybody is there.
            Outcome::TimedOut => b"",
            Outcome::Closing => {
                writer.write_all(b"closing\n".to_vec()).await;
                return;
            }
        };
    }
}

/// Drawn anew in each instance.
fn instance() -> u64 {
    thread_local!(static NUMBER: u64 = wasip3::random::random::get_random_u64());
    NUMBER.with(|number| *number)
}

fn spin() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

fn compute(milliseconds: u64) -> u64 {
    let end = monotonic_clock::now() + milliseconds * 1_000_000;
    let mut rounds = 0;
    while monotonic_clock::now() < end {
        rounds += 1;
    }
    rounds
}

fn method(request: &Request) -> &'static str {
    match request.get_method() {
        Method::Get => "GET",
        Method::Post => "POST",
        _ => "another method",
    }
}

fn authority(request: &Request) -> String {
    request.get_authority().unwrap_or_default()
}

async fn body(request: Request) -> Vec<u8> {
    take_body(request).0.collect().await
}

type Ended = FutureReader<Result<Option<Fields>, ErrorCode>>;

fn take_body(request: Request) -> (StreamReader<u8>, Ended) {
    let (_, result) = wit_future::new(|| Ok(()));
    Request::consume_body(request, result)
}

fn text(body: Vec<u8>) -> Response {
    respond(Fields::new(), body)
}

fn with_status(status: u16, response: Response) -> Response {
    let _ = response.set_status_code(status);
    response
}

fn respond(fields: Fields, body: Vec<u8>) -> Response {
    let (mut writer, reader) = wit_stream::new();
    let (_, trailers) = wit_future::new(|| Ok(None));
    spawn_local(async move { drop(writer.write_all(body).await) });
    Response::new(fields, Some(reader), trailers).0
}

fn stream<F: Future<Output = ()> + 'static>(write: impl FnOnce(StreamWriter<u8>) -> F) -> Response {
    let (writer, reader) = wit_stream::new();
    let (_, trailers) = wit_future::new(|| Ok(None));
    spawn_local(write(writer));
    Response::new(Fields::new(), Some(reader), trailers).0
}
