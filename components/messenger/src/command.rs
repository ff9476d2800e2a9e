//! Commands, each done for whoever asks.

use crate::bindings::exports::witter::messaging::messenger::{Caller, Error};
use crate::bindings::witter::messaging::policy::Identity;
use crate::rates::Deed;
use crate::rooms::Asker;
use crate::rules::Rules;
use membership::own_channel;
use protocol::{Command, Me, Revoked};

/// Does one command; its answer is JSON text.
pub(crate) async fn perform(
    rules: &Rules,
    caller: &Caller,
    command: &str,
) -> Result<String, Error> {
    let command = Command::parse(command)?;
    let who = rules.identity(caller).await?;
    let Identity {
        sender,
        name,
        expires_at,
        administers,
        ..
    } = &who;
    let sender = sender
        .as_deref()
        .ok_or_else(|| Error::Unauthorized("a command needs a credential".to_owned()))?;
    rules.rates.admit(Deed::Command, Some(sender), caller, 1)?;
    match command {
        Command::Me => Ok(Me {
            sender,
            name,
            channel: &own_channel(sender),
            expires_at: *expires_at,
        }
        .to_json()),
        Command::Revoke(_) if !administers => Err(Error::Forbidden(
            "revoking is for administrators".to_owned(),
        )),
        Command::Revoke(revoke) => Ok(Revoked {
            before: rules.revoke(&revoke).await?,
            sender: &revoke.sender,
        }
        .to_json()),
        Command::Live(command) => rules.live(caller, sender, command).await,
        Command::Room(command) => {
            let asker = Asker {
                rules,
                who: &who,
                sender,
                name,
            };
            asker.perform(command).await
        }
    }
}
