//! A poll every so often, answered at once.

use anyhow::Result;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::batch;
use crate::run::Inbox;
use crate::subject::{Delivery, Subject, Target};
use crate::witter;

pub(crate) const SUBJECT: Subject =
    witter::subject("witter short-polling", Delivery::Polled, |target, inbox| {
        Box::pin(read(target, inbox))
    });

async fn read(target: Target, inbox: Inbox) -> Result<()> {
    let mut connection = target.connect().await?;
    let mut body = Vec::new();
    let mut poll = async |inbox: &Inbox| {
        let request = witter::get(
            "short-polling",
            &format!("{}&limit=1000", inbox.after()),
            &target,
        );
        batch::poll(&mut connection, &request, &mut body, inbox).await
    };
    poll(&inbox).await?;
    // Real clients did not begin together either.
    let period = target.manners.interval;
    let mut clock = interval_at(Instant::now() + period.mul_f64(fastrand::f64()), period);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        poll(&inbox).await?;
    }
}
