//! What a page sends, by whichever way it can: messages, commands, and the wish for a credential.

use crate::http::{Request, Response};
use crate::messenger;
use crate::route::{Verb, route};
use crate::types::{self, Caller};
use protocol::framing::{AnswerFraming, Framing as _, Json};
use protocol::{
    Channel, Command, CommandQuery, Draft, Drafts, Error, Kind, PublishQuery, Refers, Session,
    Stored,
};

/// Where a request has what it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// In the body of a `POST`.
    Body,
    /// In the query of a `GET`, which is all that a script element can send.
    Query,
}

impl Source {
    const fn verb(self) -> Verb {
        match self {
            Self::Body => Verb::Post,
            Self::Query => Verb::Get,
        }
    }
}

/// Stores messages, and tells where. An id makes sending it again harmless, also by `GET`.
pub async fn publish<F: AnswerFraming>(
    request: Request,
    source: Source,
    framing: impl FnOnce(&str) -> Result<F, Error>,
) -> Response {
    route(
        request,
        source.verb(),
        framing,
        async |request: Request, framing: &F| {
            let PublishQuery { channel, token } = PublishQuery::parse(request.query())?;
            let caller = request.caller(token)?;
            let drafts = match source {
                Source::Body => Drafts::parse(&request.json().await?)?,
                Source::Query => Drafts::from_query(request.query())?,
            };
            let results = store(caller, &channel, &drafts).await?;
            let (status, answer) = drafts.answer(&channel, results)?;
            Ok(Response::new(
                status,
                F::CONTENT_TYPE,
                framing.write(answer),
            ))
        },
    )
    .await
}

/// Stores drafts, 1 to 100, in their order and by one call, and tells what became of each.
pub(crate) async fn store(
    caller: Caller,
    channel: &Channel,
    drafts: impl IntoIterator<Item = &Draft>,
) -> Result<Vec<Result<Stored, Error>>, Error> {
    let outgoing = drafts
        .into_iter()
        .map(|Draft { id, body, refers }| messenger::Draft {
            id: id.clone(),
            body: body.clone(),
            refers: refers.map(asked),
        });
    let results = messenger::publish(caller, channel.to_string(), outgoing.collect()).await?;
    let stored = results.into_iter().map(|result| {
        let messenger::Receipt { offset, duplicate } = result?;
        Ok(Stored { offset, duplicate })
    });
    Ok(stored.collect())
}

/// Does a command, and tells what came of it.
pub async fn perform<F: AnswerFraming>(
    request: Request,
    source: Source,
    framing: impl FnOnce(&str) -> Result<F, Error>,
) -> Response {
    route(
        request,
        source.verb(),
        framing,
        async |request: Request, framing: &F| {
            let CommandQuery { token, command } = CommandQuery::parse(request.query())?;
            let caller = request.caller(token)?;
            let command = match source {
                Source::Body => String::from_utf8(request.json().await?)
                    .map_err(|error| Error::Invalid(format!("the text is not UTF-8: {error}")))?,
                Source::Query => {
                    command.ok_or_else(|| Error::Unprocessable("command: missing".to_owned()))?
                }
            };
            Command::parse(&command)?;
            let answer = messenger::perform(caller, command).await?;
            Ok(Response::new(200, F::CONTENT_TYPE, framing.write(answer)))
        },
    )
    .await
}

/// Delivers what waits to be sent to the webhook's endpoint, and tells how many channels still wait; 404 where there is no
/// endpoint. Anybody may ask: it is done sooner or later anyway, and no more often for being asked.
pub async fn deliver(request: Request) -> Response {
    route(
        request,
        Verb::Post,
        |_| Ok(Json),
        async |_: Request, framing: &Json| {
            let pending = messenger::deliver().await?.ok_or(Error::NotFound)?;
            let answer = format!(r#"{{"pending":{pending}}}"#);
            Ok(Response::new(
                200,
                Json::CONTENT_TYPE,
                framing.write(answer),
            ))
        },
    )
    .await
}

fn asked(refers: Refers) -> types::Refers {
    types::Refers {
        kind: match refers.kind {
            Kind::Edit => types::Kind::Edit,
            Kind::Delete => types::Kind::Delete,
            Kind::Reaction => types::Kind::Reaction,
            Kind::Reply => types::Kind::Reply,
        },
        offset: refers.offset,
    }
}

/// Gives a guest a credential.
pub async fn welcome<F: AnswerFraming>(
    request: Request,
    source: Source,
    framing: impl FnOnce(&str) -> Result<F, Error>,
) -> Response {
    route(
        request,
        source.verb(),
        framing,
        async |request: Request, framing: &F| {
            let caller = request.caller(None)?;
            let name = match source {
                Source::Body => protocol::parse_session(&request.json().await?)?,
                Source::Query => protocol::session_from_query(request.query())?,
            };
            let messenger::Session {
                token,
                sender,
                name,
                expires_at,
            } = messenger::welcome(caller, name).await?;
            let session = Session {
                token,
                sender,
                name,
                expires_at,
            };
            Ok(Response::new(
                201,
                F::CONTENT_TYPE,
                framing.write(session.to_json()),
            ))
        },
    )
    .await
}
