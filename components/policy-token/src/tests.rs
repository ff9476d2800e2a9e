//! Credentials against deployments, as tables. Tokens are put together by hand here, so that they may
//! be wrong in every way.

use crate::bindings::exports::witter::messaging::policy::{
    Action, Context, Error, Identity, Place,
};
use crate::bindings::witter::messaging::types::Role;
use crate::config::Config;
use crate::crypto::hmac_sha256;
use crate::policy::{Policy, permit};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::pkcs8::EncodePublicKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::{Signer, SigningKey};
use proptest::prelude::*;
use serde_json::{Value, json};

const SECRET: &str = "a secret that only this test knows of";
const SHARED: [u8; 32] = [9; 32];
const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
const EDDSA: &str = r#"{"alg":"EdDSA"}"#;
const GUEST: &str = r#"{"typ":"JWT","alg":"HS256","kid":"witter-guest-1"}"#;
/// In seconds.
const NOW: u64 = 1_800_000_000;

fn signing_key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn pem() -> String {
    signing_key()
        .verifying_key()
        .to_public_key_pem(LineEnding::LF)
        .expect("a key has a PEM form")
}

/// For as long as the tests run.
fn deployment(variables: &[(&str, &str)]) -> &'static Policy {
    let config = Config::read(|name| {
        Ok(variables
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, value)| (*value).to_owned()))
    });
    let config = config.expect("the deployments of these tests are well configured");
    Box::leak(Box::new(Policy::new(config)))
}

/// Everything at once.
fn full() -> &'static Policy {
    thread_local! {
        static DEPLOYMENT: &'static Policy = deployment(&[
            ("token_secret", SECRET),
            ("token_public_key", &pem()),
            ("guests", "true"),
            ("anonymous_read", "*"),
        ]);
    }
    DEPLOYMENT.with(|policy| *policy)
}

/// Members only.
fn closed() -> &'static Policy {
    thread_local! {
        static DEPLOYMENT: &'static Policy =
            deployment(&[("token_secret", SECRET), ("token_public_key", &pem())]);
    }
    DEPLOYMENT.with(|policy| *policy)
}

/// Guests only, their key drawn by the messenger.
fn open() -> &'static Policy {
    thread_local! {
        static DEPLOYMENT: &'static Policy =
            deployment(&[("guests", "true"), ("guest_channels", "lobby")]);
    }
    DEPLOYMENT.with(|policy| *policy)
}

fn context() -> Context {
    Context {
        now: NOW * 1000,
        shared_secret: SHARED.to_vec(),
        address: None,
    }
}

fn input(header: &str, claims: impl AsRef<[u8]>) -> String {
    format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims)
    )
}

fn seal(input: String, signature: &[u8]) -> String {
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn hmac(key: impl AsRef<[u8]>, header: &str, claims: impl AsRef<[u8]>) -> String {
    let input = input(header, claims);
    let signature = hmac_sha256(key.as_ref(), input.as_bytes());
    seal(input, &signature)
}

fn ed25519(header: &str, claims: impl AsRef<[u8]>) -> String {
    let input = input(header, claims);
    let signature = signing_key().sign(input.as_bytes()).to_bytes();
    seal(input, &signature)
}

/// Ann's claims, some of them put otherwise; null takes one away.
fn ann(changes: Value) -> String {
    let mut claims = json!({"sub": "ann", "name": "Ann", "read": ["*"], "publish": ["*"]});
    for (claim, value) in changes.as_object().expect("changes are an object") {
        claims[claim] = value.clone();
    }
    claims
        .as_object_mut()
        .expect("claims are an object")
        .retain(|_, value| !value.is_null());
    claims.to_string()
}

fn member(changes: Value) -> String {
    hmac(SECRET, HS256, ann(changes))
}

/// A guest's token by hand.
fn guest(secret: impl AsRef<[u8]>, sub: &str, exp: u64) -> String {
    let key = hmac_sha256(secret.as_ref(), b"witter guest v1");
    hmac(
        key,
        GUEST,
        json!({"sub": sub, "name": "Gus", "exp": exp}).to_string(),
    )
}

/// A member's token of this length, or the next smaller that base64 allows.
fn member_of_length(length: usize) -> String {
    let fill = |count| member(json!({"x": "x".repeat(count)}));
    let mut count = 0;
    while fill(count + 1).len() <= length {
        count += 1;
    }
    fill(count)
}

fn guest_of(policy: &Policy) -> String {
    policy
        .admit("Gus", &[1; 16], &context())
        .expect("the deployment has guests")
        .token
}

const ACTIONS: [Action; 4] = [
    Action::Read,
    Action::Publish,
    Action::Create,
    Action::Moderate,
];

/// Channels of which somebody is no member.
fn strange<'a>(channels: impl IntoIterator<Item = &'a str>) -> Vec<Place> {
    let place = |channel: &str| Place {
        channel: channel.to_owned(),
        role: None,
    };
    channels.into_iter().map(place).collect()
}

/// The status a transport answers with; what `messenger` does with a policy.
fn status(policy: &Policy, token: Option<&str>, action: Action, channel: &str) -> u16 {
    let result = policy.authenticate(token, &context()).and_then(|identity| {
        let answers = permit(&identity, action, &strange([channel]));
        answers.into_iter().collect::<Result<(), _>>()
    });
    match result {
        Ok(()) => 200,
        Err(Error::Unauthorized(_)) => 401,
        Err(Error::Forbidden(_)) => 403,
        Err(other) => panic!("{other:?} is no answer to a credential"),
    }
}

/// What reading and publishing in `lobby` come to.
#[track_caller]
fn check(deployment: &str, policy: &Policy, case: &str, token: Option<&str>, expected: (u16, u16)) {
    let read = status(policy, token, Action::Read, "lobby");
    let publish = status(policy, token, Action::Publish, "lobby");
    assert_eq!(
        (read, publish),
        expected,
        "{case}, in the {deployment} deployment"
    );
}

#[test]
fn a_credential_opens_what_it_grants_and_nothing_else() {
    const MAY: (u16, u16) = (200, 200);
    const MAY_READ: (u16, u16) = (200, 403);
    const MAY_PUBLISH: (u16, u16) = (403, 200);
    const MAY_NOT: (u16, u16) = (403, 403);
    const REFUSED: (u16, u16) = (401, 401);
    let (full, closed, open) = (full(), closed(), open());

    check("full", full, "anonymous", None, (200, 401));
    check("closed", closed, "anonymous", None, REFUSED);
    check("open", open, "anonymous", None, REFUSED);

    // The deployments in their order; a member is nobody where no key is configured.
    let nobody = [REFUSED, REFUSED, REFUSED];
    let ann_here = [MAY, MAY, REFUSED];
    let granted = |read: Value, publish: Value| member(json!({"read": read, "publish": publish}));
    let ann_input = input(HS256, ann(json!({})));
    let digest = hmac_sha256(SECRET.as_bytes(), ann_input.as_bytes());
    let half_a_digest = seal(ann_input, &digest[..16]);
    let exchanged = seal(input(HS256, ann(json!({"sub": "bob"}))), &digest);
    let mut truncated = member(json!({}));
    truncated.pop();
    for (case, token, expected) in [
        // Guests.
        ("guest of full", guest_of(full), [MAY, REFUSED, REFUSED]),
        ("guest of open", guest_of(open), [REFUSED, REFUSED, MAY]),
        (
            "guest by hand",
            guest(SHARED, "guest~x", NOW + 1),
            [REFUSED, REFUSED, MAY],
        ),
        ("guest that expired", guest(SHARED, "guest~x", NOW), nobody),
        ("guest called ann", guest(SHARED, "ann", NOW + 1), nobody),
        (
            "guest of the bare secret",
            hmac(SECRET, GUEST, ann(json!({"sub": "guest~x"}))),
            nobody,
        ),
        (
            "guest of the bare shared secret",
            hmac(SHARED, GUEST, ann(json!({"sub": "guest~x"}))),
            nobody,
        ),
        (
            "guest's key for a member",
            hmac(
                hmac_sha256(SECRET.as_bytes(), b"witter guest v1"),
                HS256,
                ann(json!({})),
            ),
            nobody,
        ),
        (
            "shared secret for a member",
            hmac(SHARED, HS256, ann(json!({}))),
            nobody,
        ),
        // Members.
        ("member", member(json!({})), ann_here),
        ("member by EdDSA", ed25519(EDDSA, ann(json!({}))), ann_here),
        (
            "member without grants",
            granted(json!(null), json!(null)),
            [MAY_READ, MAY_NOT, REFUSED],
        ),
        (
            "member with empty grants",
            granted(json!([]), json!([])),
            [MAY_READ, MAY_NOT, REFUSED],
        ),
        (
            "reader",
            granted(json!(["lobby"]), json!([])),
            [MAY_READ, MAY_READ, REFUSED],
        ),
        (
            "publisher",
            granted(json!([]), json!(["lob*"])),
            [MAY, MAY_PUBLISH, REFUSED],
        ),
        (
            "member elsewhere",
            granted(json!(["other"]), json!(["@*"])),
            [MAY_READ, MAY_NOT, REFUSED],
        ),
        (
            "grants of another type",
            granted(json!("*"), json!("*")),
            nobody,
        ),
        (
            "grant that is no pattern",
            granted(json!(["lobby", "a*b"]), json!([])),
            nobody,
        ),
        (
            "grant with a space",
            granted(json!(["a lobby"]), json!([])),
            nobody,
        ),
        (
            "grant with a line break",
            granted(json!(["a\nlobby"]), json!([])),
            nobody,
        ),
        // Times.
        (
            "member for a second more",
            member(json!({"exp": NOW + 1})),
            ann_here,
        ),
        (
            "member for half a second more",
            member(json!({"exp": NOW as f64 + 0.5})),
            ann_here,
        ),
        (
            "member that expires now",
            member(json!({"exp": NOW})),
            nobody,
        ),
        ("expired in 1970", member(json!({"exp": 0})), nobody),
        (
            "expired before 1970",
            member(json!({"exp": -1e300})),
            nobody,
        ),
        (
            "expiry beyond all times",
            member(json!({"exp": 1e300})),
            ann_here,
        ),
        (
            "expiry as text",
            member(json!({"exp": "1900000000"})),
            nobody,
        ),
        (
            "expired, by EdDSA",
            ed25519(EDDSA, ann(json!({"exp": NOW}))),
            nobody,
        ),
        ("valid from now", member(json!({"nbf": NOW})), ann_here),
        (
            "issuer's clock a minute ahead",
            member(json!({"nbf": NOW + 60})),
            ann_here,
        ),
        ("not yet valid", member(json!({"nbf": NOW + 61})), nobody),
        ("never valid", member(json!({"nbf": 1e300})), nobody),
        ("beginning as text", member(json!({"nbf": "now"})), nobody),
        // Who.
        ("no subject", member(json!({"sub": null})), nobody),
        ("empty subject", member(json!({"sub": ""})), nobody),
        (
            "longest subject",
            member(json!({"sub": "s".repeat(64)})),
            ann_here,
        ),
        (
            "longer subject",
            member(json!({"sub": "s".repeat(65)})),
            nobody,
        ),
        (
            "subject beyond ASCII",
            member(json!({"sub": "änn"})),
            nobody,
        ),
        (
            "subject with a line break",
            member(json!({"sub": "ann\n"})),
            nobody,
        ),
        ("subject of another type", member(json!({"sub": 7})), nobody),
        (
            "subject of a guest",
            member(json!({"sub": "guest~AQEBAQEBAQEBAQEBAQEBAQ"})),
            nobody,
        ),
        (
            "subject of a guest, by EdDSA",
            ed25519(EDDSA, ann(json!({"sub": "guest~"}))),
            nobody,
        ),
        (
            "subject near a guest's",
            member(json!({"sub": "guest"})),
            ann_here,
        ),
        ("no name", member(json!({"name": null})), ann_here),
        (
            "longest name",
            member(json!({"name": "ñ".repeat(64)})),
            ann_here,
        ),
        (
            "longer name",
            member(json!({"name": "n".repeat(65)})),
            nobody,
        ),
        ("blank name", member(json!({"name": " \u{2003}"})), nobody),
        ("name with a NUL", member(json!({"name": "A\0nn"})), nobody),
        // For whom.
        (
            "for an audience",
            member(json!({"aud": "somebody"})),
            nobody,
        ),
        ("for an odd audience", member(json!({"aud": 5})), nobody),
        (
            "of an issuer",
            member(json!({"iss": "https://example.com", "iat": NOW, "jti": "1"})),
            ann_here,
        ),
        (
            "claim given twice",
            hmac(SECRET, HS256, r#"{"sub":"ann","sub":"bob","read":["*"]}"#),
            nobody,
        ),
        // Signatures.
        (
            "forged",
            hmac(
                "another secret, as long as the first one",
                HS256,
                ann(json!({})),
            ),
            nobody,
        ),
        (
            "forged, by EdDSA",
            seal(input(EDDSA, ann(json!({}))), &[1; 64]),
            nobody,
        ),
        (
            "signature of zeros",
            seal(input(EDDSA, ann(json!({}))), &[0; 64]),
            nobody,
        ),
        (
            "signature too short",
            seal(input(EDDSA, ann(json!({}))), &[1; 63]),
            nobody,
        ),
        ("half a digest", half_a_digest, nobody),
        (
            "no signature",
            seal(input(HS256, ann(json!({}))), b""),
            nobody,
        ),
        ("claims exchanged", exchanged, nobody),
        // Algorithms.
        (
            "alg none",
            seal(input(r#"{"alg":"none"}"#, ann(json!({}))), b""),
            nobody,
        ),
        (
            "alg None",
            seal(input(r#"{"alg":"None"}"#, ann(json!({}))), b""),
            nobody,
        ),
        ("no alg", hmac(SECRET, "{}", ann(json!({}))), nobody),
        (
            "alg hs256",
            hmac(SECRET, r#"{"alg":"hs256"}"#, ann(json!({}))),
            nobody,
        ),
        (
            "alg HS512",
            hmac(SECRET, r#"{"alg":"HS512"}"#, ann(json!({}))),
            nobody,
        ),
        (
            "alg RS256",
            hmac(SECRET, r#"{"alg":"RS256"}"#, ann(json!({}))),
            nobody,
        ),
        (
            "alg ES256",
            hmac(SECRET, r#"{"alg":"ES256"}"#, ann(json!({}))),
            nobody,
        ),
        (
            "public key as the secret",
            hmac(pem(), HS256, ann(json!({}))),
            nobody,
        ),
        (
            "bytes of the public key as the secret",
            hmac(
                signing_key().verifying_key().as_bytes(),
                HS256,
                ann(json!({})),
            ),
            nobody,
        ),
        ("empty secret", hmac("", HS256, ann(json!({}))), nobody),
        (
            "HMAC that says EdDSA",
            hmac(SECRET, EDDSA, ann(json!({}))),
            nobody,
        ),
        (
            "EdDSA that says HS256",
            ed25519(HS256, ann(json!({}))),
            nobody,
        ),
        (
            "critical extension",
            hmac(SECRET, r#"{"alg":"HS256","crit":["exp"]}"#, ann(json!({}))),
            nobody,
        ),
        (
            "key in the header",
            hmac(
                "",
                r#"{"alg":"HS256","jwk":{"kty":"oct","k":"","alg":"HS256"}}"#,
                ann(json!({})),
            ),
            nobody,
        ),
        (
            "another key id",
            hmac(SECRET, r#"{"alg":"HS256","kid":"2"}"#, ann(json!({}))),
            ann_here,
        ),
        // Shapes.
        ("empty", String::new(), nobody),
        ("dots", "..".to_owned(), nobody),
        ("one dot more", member(json!({})) + ".", nobody),
        ("one part", URL_SAFE_NO_PAD.encode(HS256), nobody),
        ("truncated at the end", truncated, nobody),
        ("truncated in front", member(json!({})).split_off(1), nobody),
        (
            "truncated to the claims",
            input(HS256, ann(json!({}))),
            nobody,
        ),
        ("padded", member(json!({})) + "=", nobody),
        ("space in front", format!(" {}", member(json!({}))), nobody),
        ("not base64", "a!.b!.c!".to_owned(), nobody),
        ("not ASCII", "é.ü.😀".to_owned(), nobody),
        (
            "header no JSON",
            hmac(SECRET, "HS256", ann(json!({}))),
            nobody,
        ),
        ("claims no text", hmac(SECRET, HS256, [0xff, 0xfe]), nobody),
        (
            "claims not UTF-8",
            hmac(SECRET, HS256, b"{\"sub\":\"\xff\",\"read\":[\"*\"]}"),
            nobody,
        ),
        (
            "claims a lone surrogate",
            hmac(SECRET, HS256, br#"{"sub":"\ud800"}"#),
            nobody,
        ),
        ("claims no object", hmac(SECRET, HS256, "[]"), nobody),
        ("claims empty", hmac(SECRET, HS256, ""), nobody),
        (
            "claims deeply nested",
            hmac(SECRET, HS256, "[".repeat(4000)),
            nobody,
        ),
        ("longest", member_of_length(8192), ann_here),
        ("longer", member_of_length(8194), nobody),
        ("huge", "a".repeat(10_000_000), nobody),
        (
            "huge and well signed",
            member(json!({"x": "x".repeat(1_000_000)})),
            nobody,
        ),
    ] {
        let deployments = [("full", full), ("closed", closed), ("open", open)];
        for ((deployment, policy), expected) in deployments.into_iter().zip(expected) {
            check(deployment, policy, case, Some(&token), expected);
        }
    }
}

#[track_caller]
fn identity(policy: &Policy, token: &str) -> Identity {
    policy
        .authenticate(Some(token), &context())
        .expect("a good credential")
}

#[test]
fn an_identity_says_who_and_until_when() {
    let full = full();
    for (token, sender, name, expires_at) in [
        (member(json!({})), "ann", "Ann", None),
        (member(json!({"name": null})), "ann", "ann", None),
        (
            member(json!({"name": "  Ann B. ", "exp": NOW + 5})),
            "ann",
            "Ann B.",
            Some((NOW + 5) * 1000),
        ),
        (
            member(json!({"exp": NOW as f64 + 0.25})),
            "ann",
            "Ann",
            Some(NOW * 1000 + 250),
        ),
        (member(json!({"exp": 1e300})), "ann", "Ann", Some(u64::MAX)),
        (
            guest_of(full),
            "guest~AQEBAQEBAQEBAQEBAQEBAQ",
            "Gus",
            Some((NOW + 86_400) * 1000),
        ),
    ] {
        let identity = identity(full, &token);
        assert_eq!(identity.sender.as_deref(), Some(sender));
        assert_eq!(
            (identity.name.as_str(), identity.expires_at),
            (name, expires_at)
        );
    }
}

#[test]
fn a_guest_is_told_the_same_as_the_messenger() {
    for policy in [full(), open()] {
        let guest = policy
            .admit(" Gus ", &[1; 16], &context())
            .expect("the deployment has guests");
        let identity = identity(policy, &guest.token);
        assert_eq!(Some(guest.sender), identity.sender);
        assert_eq!(guest.name, identity.name);
        assert_eq!(Some(guest.expires_at), identity.expires_at);
    }
}

#[test]
fn two_guests_of_one_name_are_two_senders() {
    let draw = |entropy| {
        open()
            .admit("Gus", &[entropy; 16], &context())
            .expect("guests")
            .sender
    };
    assert_ne!(draw(1), draw(2));
}

#[test]
fn a_token_that_was_let_in_before_is_judged_by_each_calls_own_context() {
    let policy = deployment(&[("token_secret", SECRET), ("guests", "true")]);
    let at = |token: &str, seconds: u64| {
        let context = Context {
            now: seconds * 1000,
            ..context()
        };
        match policy.authenticate(Some(token), &context) {
            Ok(identity) => identity.sender,
            Err(Error::Unauthorized(why)) => Some(why),
            Err(other) => panic!("{other:?} is no answer to a credential"),
        }
    };
    let token = member(json!({"nbf": NOW, "exp": NOW + 10}));
    let bob = input(HS256, ann(json!({"sub": "bob"})));
    let ann = Some("ann".to_owned());
    let refused = |why: &str| Some(why.to_owned());
    assert_eq!(at(&token, NOW), ann);
    assert_eq!(at(&token, NOW + 9), ann);
    assert_eq!(at(&token, NOW + 10), refused("the credential has expired"));
    // What was let in lends its signature to nobody.
    let (_, signature) = token.rsplit_once('.').expect("a token has three parts");
    let forged = refused("the signature of the credential does not fit");
    assert_eq!(at(&format!("{bob}.{signature}"), NOW), forged);
    // A clock may be set back.
    let early = refused("the credential is not valid yet");
    assert_eq!(at(&token, NOW - 61), early);
    assert_eq!(at(&token, NOW - 60), ann);

    let open = open();
    let guest = guest_of(open);
    let with = |shared_secret: Vec<u8>| {
        let context = Context {
            shared_secret,
            ..context()
        };
        open.authenticate(Some(&guest), &context).is_ok()
    };
    assert!(with(SHARED.to_vec()));
    assert!(!with(vec![8; 32]), "another store draws another secret");
    assert!(with(SHARED.to_vec()));
}

#[test]
fn a_guest_ends_with_the_secret_or_the_permission_for_guests() {
    let token = guest_of(full());
    let other_secret = "another secret that is long enough too";
    for variables in [
        [("token_secret", other_secret), ("guests", "true")],
        [("token_secret", SECRET), ("guests", "false")],
        [("token_secret", ""), ("guests", "true")],
    ] {
        check(
            "changed",
            deployment(&variables),
            "guest",
            Some(&token),
            (401, 401),
        );
    }
}

#[test]
fn admitting_a_guest_fails_for_a_reason_that_is_told() {
    let no_secret = Context {
        shared_secret: vec![9; 31],
        ..context()
    };
    let longer = "n".repeat(65);
    for (policy, name, entropy, context, expected) in [
        (closed(), "Gus", 16, context(), "forbidden"),
        (open(), "", 16, context(), "invalid"),
        (open(), " \t ", 16, context(), "invalid"),
        (open(), "a\nb", 16, context(), "invalid"),
        (open(), &longer, 16, context(), "invalid"),
        (open(), "Gus", 15, context(), "unavailable"),
        (open(), "Gus", 16, no_secret.clone(), "unavailable"),
        (full(), "Gus", 16, no_secret, "admitted"),
    ] {
        let result = policy.admit(name, &vec![1; entropy], &context);
        let outcome = match result {
            Ok(_) => "admitted",
            Err(Error::Forbidden(_)) => "forbidden",
            Err(Error::Invalid(_)) => "invalid",
            Err(Error::Unavailable(_)) => "unavailable",
            Err(other) => panic!("{other:?} is no answer to a guest"),
        };
        assert_eq!(outcome, expected, "{name:?}");
    }
}

#[test]
fn each_action_has_a_claim_of_its_own() {
    let claims = ["read", "publish", "create", "moderate"];
    for (index, claim) in claims.into_iter().enumerate() {
        let mut grants = json!({"read": [], "publish": []});
        grants[claim] = json!(["lobby"]);
        let token = member(grants);
        for (other, action) in ACTIONS.into_iter().enumerate() {
            let expected = if other == index { 200 } else { 403 };
            let status = status(closed(), Some(&token), action, "lobby");
            assert_eq!(status, expected, "{claim}, {action:?}");
        }
    }
}

#[test]
fn a_role_speaks_for_itself() {
    let identity = identity(closed(), &member(json!({"read": [], "publish": []})));
    for (role, allowed) in [
        (None, [false; 4]),
        (Some(Role::Member), [true, true, false, false]),
        (Some(Role::Moderator), [true, true, false, true]),
        (Some(Role::Owner), [true, true, false, true]),
    ] {
        let place = Place {
            channel: "@room~1".to_owned(),
            role,
        };
        let permitted =
            ACTIONS.map(|action| permit(&identity, action, &[place.clone()])[0].is_ok());
        assert_eq!(permitted, allowed, "{role:?}");
    }
}

#[test]
fn only_who_is_told_so_administers_and_a_credential_tells_its_age() {
    for (claims, administers, issued_at) in [
        (json!({}), false, None),
        (
            json!({"administer": true, "iat": 1_700_000_000}),
            true,
            Some(1_700_000_000_000),
        ),
        (json!({"administer": false, "iat": 0.5}), false, Some(500)),
    ] {
        let identity = identity(closed(), &member(claims));
        assert_eq!(
            (identity.administers, identity.issued_at),
            (administers, issued_at)
        );
    }
    let policy = deployment(&[("guests", "true")]);
    let guest = identity(&policy, &guest_of(&policy));
    assert!(!guest.administers && guest.issued_at.is_some());
}

#[test]
fn each_channel_is_answered_in_its_place_and_by_its_name_alone() {
    let channels = strange(["lobby", "@bob", "news.sport", "lobby", "", "@"]);
    let reader = identity(closed(), &member(json!({"read": ["lobby", "news.*"]})));
    let anonymous = deployment(&[("anonymous_read", "news.*")])
        .authenticate(None, &context())
        .expect("nobody is somebody too");
    let answers = |identity, action| {
        permit(identity, action, &channels)
            .into_iter()
            .map(|answer| match answer {
                Ok(()) => "yes".to_owned(),
                Err(Error::Unauthorized(detail)) => format!("401 {detail}"),
                Err(Error::Forbidden(detail)) => format!("403 {detail}"),
                Err(other) => panic!("{other:?} is no answer of permit"),
            })
    };
    assert!(answers(&reader, Action::Read).eq([
        "yes",
        "403 reading @bob is not allowed",
        "yes",
        "yes",
        "403 reading  is not allowed",
        "403 reading @ is not allowed",
    ]));
    assert!(answers(&anonymous, Action::Read).eq([
        "401 reading lobby needs a credential",
        "401 reading @bob needs a credential",
        "yes",
        "401 reading lobby needs a credential",
        "401 reading  needs a credential",
        "401 reading @ needs a credential",
    ]));
    assert!(
        answers(&anonymous, Action::Publish).all(|answer| answer.starts_with("401 publishing in"))
    );
    assert!(permit(&reader, Action::Read, &[]).is_empty());
}

#[test]
fn direct_messages_need_a_grant_that_names_them() {
    for (grant, channel, expected) in [
        ("*", "@ann", 403),
        ("@ann", "@ann", 200),
        ("@ann", "@anna", 403),
        ("@*", "@bob", 200),
        ("@*", "lobby", 403),
    ] {
        let token = member(json!({"read": [grant], "publish": [grant]}));
        for action in [Action::Read, Action::Publish] {
            assert_eq!(
                status(closed(), Some(&token), action, channel),
                expected,
                "{grant} {channel}"
            );
        }
    }
    assert_eq!(
        status(full(), Some(&guest_of(full())), Action::Read, "@ann"),
        403
    );
    assert_eq!(status(full(), None, Action::Read, "@ann"), 401);
}

/// Any JSON up to a few levels deep.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((any::<String>(), inner), 0..4)
                .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn arbitrary_text_is_nobodys_credential(text in any::<String>(), dotted in r"[A-Za-z0-9_-]{0,40}(\.[A-Za-z0-9_-]{0,40}){0,4}") {
        for policy in [full(), closed(), open()] {
            for credential in [&text, &dotted] {
                prop_assert!(matches!(
                    policy.authenticate(Some(credential), &context()),
                    Err(Error::Unauthorized(_))
                ));
            }
        }
    }

    #[test]
    fn a_changed_token_is_nobodys_credential(place in any::<prop::sample::Index>(), byte in 0x20u8..0x7f) {
        let policy = full();
        for token in [member(json!({})), ed25519(EDDSA, ann(json!({}))), guest_of(policy)] {
            let mut changed = token.clone().into_bytes();
            changed[place.index(token.len())] = byte;
            let changed = String::from_utf8(changed).expect("ASCII for ASCII");
            let refused = matches!(
                policy.authenticate(Some(&changed), &context()),
                Err(Error::Unauthorized(_))
            );
            prop_assert!(refused || changed == token, "{}", changed);
        }
    }

    #[test]
    fn arbitrary_claims_that_are_signed_never_break_the_rules(
        header in any_json(),
        claims in any_json(),
        claim in prop::sample::select(vec!["sub", "name", "read", "publish", "exp", "nbf", "aud"]),
        value in any_json(),
        now in any::<u64>(),
    ) {
        let policy = full();
        let changed = ann(json!({claim: value}));
        for token in [
            hmac(SECRET, &header.to_string(), &changed),
            hmac(SECRET, HS256, claims.to_string()),
            member(json!({claim: value})),
            ed25519(EDDSA, &changed),
            hmac(hmac_sha256(SECRET.as_bytes(), b"witter guest v1"), GUEST, &changed),
        ] {
            match policy.authenticate(Some(&token), &Context { now, ..context() }) {
                Err(error) => prop_assert!(matches!(error, Error::Unauthorized(_))),
                Ok(identity) => {
                    let sender = identity.sender.clone().expect("a member has an identity");
                    prop_assert!((1..=64).contains(&sender.len()) && sender.is_ascii());
                    prop_assert!((1..=64).contains(&identity.name.chars().count()));
                    prop_assert!(identity.expires_at.is_none_or(|end| end > now));
                    prop_assert_eq!(permit(&identity, Action::Read, &strange(["lobby"])).len(), 1);
                }
            }
        }
    }

    #[test]
    fn arbitrary_notes_and_channels_are_answered(
        sender in any::<Option<String>>(),
        grants in any::<String>(),
        channels in proptest::collection::vec(any::<String>(), 0..8),
    ) {
        let identity = Identity { sender, name: String::new(), expires_at: None, issued_at: None, administers: false, grants };
        let places = strange(channels.iter().map(String::as_str));
        for action in ACTIONS {
            prop_assert_eq!(permit(&identity, action, &places).len(), channels.len());
        }
    }

    #[test]
    fn arbitrary_guests_are_admitted_or_refused(
        name in any::<String>(),
        entropy in proptest::collection::vec(any::<u8>(), 0..40),
        now in 0..u64::MAX / 2,
    ) {
        let policy = open();
        let context = Context { now, ..context() };
        if let Ok(guest) = policy.admit(&name, &entropy, &context) {
            let identity = policy.authenticate(Some(&guest.token), &context);
            prop_assert_eq!(identity.expect("a fresh guest holds").sender, Some(guest.sender));
        }
    }
}

#[test]
fn who_may_create_a_channel_of_its_name_may_create_a_private_room() {
    for (grants, allowed) in [
        (json!(["*"]), 200),
        (json!(["room~*"]), 200),
        (json!(["@room~*"]), 200),
        (json!(["@*", "news.*"]), 200),
        (json!(["@ann", "news.*"]), 403),
        (json!([]), 403),
    ] {
        let token = member(json!({"create": grants, "moderate": ["*"]}));
        let status = |action, channel| status(closed(), Some(&token), action, channel);
        assert_eq!(status(Action::Create, "@room~x"), allowed, "{grants}");
        // Only that, and nothing else with an @.
        for channel in ["@rooms", "@room", "@direct~x", "@me~x"] {
            let named = json!(["@*", "news.*"]) == grants;
            let expected = if named { 200 } else { 403 };
            assert_eq!(
                status(Action::Create, channel),
                expected,
                "{grants}, {channel}"
            );
        }
        assert_eq!(status(Action::Moderate, "@room~x"), 403);
    }
}
