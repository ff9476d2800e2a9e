use crate::Error;

#[track_caller]
fn check(error: &Error, status: u16, code: &str, headers: &[(&str, &str)]) {
    assert_eq!((error.status(), error.code()), (status, code));
    let told = error.headers();
    assert_eq!(
        told.iter()
            .map(|(name, value)| (*name, &**value))
            .collect::<Vec<_>>(),
        headers
    );
    let json: serde_json::Value = serde_json::from_str(&error.to_json()).expect("an error is JSON");
    let mut expected = serde_json::json!({"error": code, "detail": error.to_string()});
    // What a header says, a reader who sees none is told too.
    if let Some((_, seconds)) = headers.iter().find(|(name, _)| *name == "retry-after") {
        expected["retry_after"] = seconds.parse::<u32>().expect("a number").into();
    }
    if *error == Error::UpgradeRequired {
        expected["next"] = "sse".into();
    }
    assert_eq!(json, expected);
}

#[test]
fn each_error_has_its_status_its_code_and_its_headers() {
    let text = || "\"quoted\"\r\n\0 </script> \u{2028}".to_owned();
    check(&Error::Invalid(text()), 400, "invalid-request", &[]);
    check(
        &Error::Unauthorized(text()),
        401,
        "unauthorized",
        &[("www-authenticate", "Bearer")],
    );
    check(&Error::Forbidden(text()), 403, "forbidden", &[]);
    check(&Error::NotFound, 404, "not-found", &[]);
    let error = Error::MethodNotAllowed {
        allow: "GET, OPTIONS",
    };
    check(
        &error,
        405,
        "method-not-allowed",
        &[("allow", "GET, OPTIONS")],
    );
    check(&Error::IdReused, 409, "id-reused", &[]);
    check(&Error::TooLarge, 413, "too-large", &[]);
    check(
        &Error::UnsupportedMediaType,
        415,
        "unsupported-media-type",
        &[],
    );
    check(&Error::Unprocessable(text()), 422, "unprocessable", &[]);
    check(
        &Error::UpgradeRequired,
        426,
        "upgrade-required",
        &[("sec-websocket-version", "13")],
    );
    check(
        &Error::RateLimited { retry_after: 7 },
        429,
        "rate-limited",
        &[("retry-after", "7")],
    );
    check(
        &Error::Unavailable(text()),
        503,
        "unavailable",
        &[("retry-after", "1")],
    );
}

#[test]
fn an_error_in_json_has_no_raw_control_character() {
    let all: String = ('\0'..=' ').collect();
    assert!(
        Error::Invalid(all)
            .to_json()
            .bytes()
            .all(|byte| byte >= b' ')
    );
}
