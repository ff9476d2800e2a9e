//! Rules that break the contract of `policy` as the name of the channel says, and else leave all to those
//! that they import.

mod bindings;

use bindings::exports::witter::messaging::policy as wit;
use bindings::witter::messaging::policy as inner;
use std::process::abort;

/// What `bindings` exports.
struct Component;

impl wit::Guest for Component {
    fn authenticate(
        credential: Option<String>,
        context: wit::Context,
    ) -> Result<wit::Identity, wit::Error> {
        inner::authenticate(credential.as_deref(), &context)
    }

    fn permit(
        identity: wit::Identity,
        action: wit::Action,
        places: Vec<wit::Place>,
    ) -> Vec<Result<(), wit::Error>> {
        let is_asked = |channel: &str| places.iter().any(|place| place.channel == channel);
        let (few, many, trap) = (
            is_asked("permits-too-few"),
            is_asked("permits-too-many"),
            is_asked("permit-traps"),
        );
        let mut answers = inner::permit(&identity, action, &places);
        if few {
            answers.pop();
        } else if many {
            answers.push(Ok(()));
        } else if trap {
            abort()
        }
        answers
    }

    fn admit(
        name: String,
        entropy: Vec<u8>,
        context: wit::Context,
    ) -> Result<wit::Guest_, wit::Error> {
        inner::admit(&name, &entropy, &context)
    }

    fn review(
        identity: wit::Identity,
        place: wit::Place,
        body: String,
        context: wit::Context,
    ) -> Result<Option<String>, wit::Error> {
        match place.channel.as_str() {
            "reviews-to-nothing" => Ok(Some(String::new())),
            "reviews-to-text" => Ok(Some("{\"text\":".to_owned())),
            "reviews-to-two" => Ok(Some("1 2".to_owned())),
            "reviews-to-much" => Ok(Some(format!("\"{}\"", "x".repeat(65_535)))),
            // The longest that may be stored, once the white space is gone.
            "reviews-to-most" => Ok(Some(format!(" \"{}\" ", "x".repeat(65_534)))),
            "review-traps" => abort(),
            "review-never-ends" => loop {
                std::hint::black_box(&body);
            },
            "review-is-busy" => Err(wit::Error::RateLimited(7)),
            _ => inner::review(&identity, &place, &body, &context),
        }
    }
}
