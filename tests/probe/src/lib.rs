//! A component that behaves, and misbehaves, as the path of the request says. The tests of the host send
//! it what a component of ours would never do.

mod bindings;
mod store;

use std::future::pending;
use std::process::abort;

use bindings::witter::messaging::wakeup::{Outcome, Watch, notify};
use wasip3::clocks::monotonic_clock;
use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::{wit_future, wit_stream};
use wit_bindgen::{StreamResult, StreamWriter, spawn_local};

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
        // What arrived: the target, then a header a line.
        "head" => {
            let mut lines = format!("{} {target}\n", authority(&request));
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
        "stream-then-trap" => stream(async move |mut writer: StreamWriter<u8>| {
            writer.write_all(b"open\n".to_vec()).await;
            let watch = Watch::new(&word);
            watch.wait(0, 60_000).await;
            abort()
        }),
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
        _ => {
            let response = text(b"the probe does not know that".to_vec());
            let _ = response.set_status_code(404);
            response
        }
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

fn authority(request: &Request) -> String {
    request.get_authority().unwrap_or_default()
}

async fn body(request: Request) -> Vec<u8> {
    let (_, result) = wit_future::new(|| Ok(()));
    let (stream, _) = Request::consume_body(request, result);
    stream.collect().await
}

fn text(body: Vec<u8>) -> Response {
    respond(Fields::new(), body)
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
