//! Whose credentials are revoked; and whose standing changes, told to all instances that have readers: by one
//! document, and a wakeup for it.

use crate::bindings::exports::witter::messaging::messenger::{Changes, Error};
use crate::bindings::witter::messaging::policy::Identity;
use crate::bindings::witter::messaging::wakeup;
use crate::clock;
use crate::rules::Rules;
use crate::vigil::Vigil;
use mailbox::StoreError;
use protocol::Revoke;
use standing::{Full, Malformed, Revoked, Told};

/// What is notified: no channel has such a name.
const KEY: &str = "/standing";

impl Rules {
    /// Whether the credential was not revoked.
    pub(crate) async fn unrevoked(&self, identity: &Identity) -> Result<(), Error> {
        let Some(sender) = &identity.sender else {
            return Ok(());
        };
        let documents = self.mailbox.documents();
        let content = documents.read(&Revoked::name(sender)).await?;
        if Revoked::read(content.as_deref())?.has(sender, identity.issued_at) {
            let why = "the credential was revoked";
            return Err(Error::Unauthorized(why.to_owned()));
        }
        Ok(())
    }

    /// Revokes credentials; answers up to when, in milliseconds since 1970.
    pub(crate) async fn revoke(&self, revoke: &Revoke) -> Result<u64, Error> {
        let Revoke { sender, until, .. } = revoke;
        let now = clock::now();
        let before = revoke.before.unwrap_or(now);
        let change = |content: Option<&[u8]>| -> Result<_, Error> {
            let mut revoked = Revoked::read(content)?;
            revoked.revoke(sender, before, *until, now)?;
            Ok(Some(revoked.write()))
        };
        let documents = self.mailbox.documents();
        documents.update(&Revoked::name(sender), change).await?;
        self.standing_changed(sender).await?;
        Ok(before)
    }

    /// Tells that a sender may do other things than before, or is no longer taken for who they say: their open
    /// readers are asked about again, wherever they are. To be called when the change is stored.
    pub(crate) async fn standing_changed(&self, sender: &str) -> Result<(), Error> {
        let record = |content: Option<&[u8]>| -> Result<_, Error> {
            let mut changes = standing::Changes::read(content)?;
            changes.record(sender);
            Ok(Some(changes.write()))
        };
        let documents = self.mailbox.documents();
        documents.update(standing::Changes::NAME, record).await?;
        wakeup::notify(KEY);
        Ok(())
    }

    /// Waits for what changed behind `known`. The watch stays armed from one call to the next.
    pub(crate) async fn changed(&self, known: Option<u64>, wait_ms: u32) -> Result<Changes, Error> {
        let deadline = clock::uptime() + u64::from(wait_ms);
        let documents = self.mailbox.documents();
        let mut vigil = self.vigil.take().unwrap_or_else(|| Vigil::new(KEY));
        let mut over = false;
        loop {
            if known.is_none() || vigil.read_to != known {
                let content = documents.read(standing::Changes::NAME).await?;
                let changes = standing::Changes::read(content.as_deref())?;
                let told = known.map_or(Told::Anybody, |known| changes.since(known));
                let nobody = told == Told::These(Vec::new());
                vigil.read_to = Some(changes.version());
                if !nobody || over {
                    if !nobody {
                        vigil.news();
                    }
                    self.vigil.set(Some(vigil));
                    return Ok(Changes {
                        known: changes.version(),
                        senders: match told {
                            Told::These(senders) => Some(senders),
                            Told::Anybody => None,
                        },
                    });
                }
            }
            over |= vigil.wait(deadline).await?;
        }
    }
}

impl From<Malformed> for Error {
    fn from(error: Malformed) -> Self {
        Error::Unavailable(error.to_string())
    }
}

impl From<Full> for Error {
    fn from(error: Full) -> Self {
        Error::Invalid(error.to_string())
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Error::Unavailable(error.to_string())
    }
}
