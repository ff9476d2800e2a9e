//! Bare WebSockets by npm's `ws`: no more than a loop over its clients.

use anyhow::Result;
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;

use crate::drafts::{Draft, Drafts};
use crate::peers;
use crate::publishing;
use crate::run::Inbox;
use crate::socket::{Answers, Socket};
use crate::subject::{Delivery, Maker, Store, Subject, Target};

pub(crate) const SUBJECT: Subject = Subject {
    name: "ws websocket",
    maker: Maker::Node,
    store: Store::Own,
    delivery: Delivery::Socket,
    beside: Some("witter websocket"),
    start: |setup| peers::node(setup, "ws.mjs", &[]),
    publish,
    read: |target, inbox| Box::pin(read(target, inbox)),
};

fn publish(target: Target, drafts: Drafts) -> LocalBoxFuture<'static, Result<()>> {
    async move {
        let open = async || Socket::open_path(target.address, "/publish").await;
        let write = |draft: &Draft| Ok(draft.message());
        let accepts =
            |message: &[u8], draft: &Draft, _: &mut Answers| Ok(Ok(draft.is_named_in(message)));
        publishing::by_socket(drafts, open, write, accepts).await
    }
    .boxed_local()
}

async fn read(target: Target, inbox: Inbox) -> Result<()> {
    let mut socket = Socket::open_path(target.address, "/read").await?;
    inbox.set_ready();
    socket
        .each(|message, _| {
            inbox.receive(message);
            Ok(())
        })
        .await
}
