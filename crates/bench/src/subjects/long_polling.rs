//! A poll that is held until there is something, and then the next.

use anyhow::Result;

use super::batch;
use crate::http::Connection;
use crate::run::Inbox;
use crate::subject::{Subject, Target};
use crate::witter;

pub(crate) const SUBJECT: Subject = Subject {
    name: "long-polling",
    start: witter::start,
    publish: witter::publish,
    read: |target, inbox| Box::pin(read(target, inbox)),
};

async fn read(target: Target, inbox: Inbox) -> Result<()> {
    let mut connection = Connection::open(target.address).await?;
    let mut body = Vec::new();
    loop {
        let request = witter::get(
            "long-polling",
            &format!("{}&limit=1000", inbox.after()),
            &target,
        );
        batch::poll(&mut connection, &request, &mut body, &inbox).await?;
    }
}
