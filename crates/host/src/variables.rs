//! Application variables, as Spin has them: declared under `[variables]` with a default or as required,
//! overridden by the environment, and put into a component's own variables by `{{ name }}` templates.
//!
//! Everything is resolved once, when the application is loaded: a value that is missing is told before
//! the first request, not by it. No value is ever part of an error or of a `Debug` output: some are secrets.

use std::collections::BTreeMap;
use std::env::VarError;
use std::fmt;

use serde::Deserialize;

/// What an environment variable that overrides an application variable begins with.
const PREFIX: &str = "SPIN_VARIABLE_";

/// One entry of `[variables]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    /// For people.
    #[serde(default, rename = "description")]
    _description: Option<String>,
    /// That a value must come from the environment. Exactly one of this and `default` is given.
    #[serde(default)]
    required: bool,
    /// The value where the environment has none.
    #[serde(default)]
    default: Option<String>,
    /// That the value must not be shown. Here no value is, so nothing depends on it.
    #[serde(default, rename = "secret")]
    _secret: bool,
}

/// Why a variable or a template has no value.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum VariableError {
    /// The name breaks the rules that Spin sets.
    #[error("{name:?} is no variable name: {reason}")]
    Name {
        /// As declared.
        name: String,
        /// The rule that it breaks.
        reason: &'static str,
    },
    /// Neither `required = true` nor a default, or both.
    #[error("variable {0:?} must be `required` or have a `default`, and not both")]
    Declaration(String),
    /// A required variable that the environment does not have.
    #[error("variable {name:?} is required: set {PREFIX}{}", .name.to_ascii_uppercase())]
    Missing {
        /// As declared.
        name: String,
    },
    /// The environment's value is not Unicode.
    #[error("the value in {PREFIX}{} is not unicode", .name.to_ascii_uppercase())]
    NotUnicode {
        /// As declared.
        name: String,
    },
    /// A template opens `{{` and does not close it.
    #[error("`{{{{` without `}}}}`")]
    Unclosed,
    /// A template names a variable that the application does not declare.
    #[error("unknown variable {0:?}")]
    Unknown(String),
}

/// What overrides the application variable of this name in the environment.
pub(crate) fn environment_name(name: &str) -> String {
    format!("{PREFIX}{}", name.to_ascii_uppercase())
}

impl VariableError {
    /// The declared variable at fault, where it is one variable's fault.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Name { name, .. }
            | Self::Missing { name }
            | Self::NotUnicode { name }
            | Self::Declaration(name) => Some(name),
            Self::Unclosed | Self::Unknown(_) => None,
        }
    }
}

/// The application's variables with their values.
pub struct Variables(BTreeMap<String, String>);

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Variables {
    /// Gives every declared variable its value: what `environment` has under `SPIN_VARIABLE_NAME`, the
    /// name in upper case, else the default.
    ///
    /// `environment` is [`std::env::var`] in a process of ours.
    pub fn resolve(
        declarations: BTreeMap<String, Declaration>,
        environment: impl Fn(&str) -> Result<String, VarError>,
    ) -> Result<Self, VariableError> {
        let value = |name: String, declaration: Declaration| {
            check_name(&name)?;
            if declaration.required == declaration.default.is_some() {
                return Err(VariableError::Declaration(name));
            }
            let value = match environment(&environment_name(&name)) {
                Ok(value) => value,
                Err(VarError::NotUnicode(_)) => return Err(VariableError::NotUnicode { name }),
                Err(VarError::NotPresent) => match declaration.default {
                    Some(value) => value,
                    None => return Err(VariableError::Missing { name }),
                },
            };
            Ok((name, value))
        };
        declarations
            .into_iter()
            .map(|(name, declaration)| value(name, declaration))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The template with every `{{ name }}` replaced by that variable's value.
    ///
    /// There is no way to write a literal `{{`, and what a value contains is not looked at again.
    pub fn render(&self, template: &str) -> Result<String, VariableError> {
        let mut rendered = String::with_capacity(template.len());
        let mut rest = template;
        while let Some((literal, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").ok_or(VariableError::Unclosed)?;
            let name = name.trim();
            let value = self
                .0
                .get(name)
                .ok_or_else(|| VariableError::Unknown(name.to_owned()))?;
            rendered.push_str(literal);
            rendered.push_str(value);
            rest = after;
        }
        rendered.push_str(rest);
        Ok(rendered)
    }
}

/// Whether Spin takes `name` for a variable, of the application or of a component: words of lower-case
/// letters and digits, each beginning with a letter, joined by one underscore.
///
/// Spin's expression library would let a word begin with a digit; its manifest does not.
pub fn check_name(name: &str) -> Result<(), VariableError> {
    let reason = if name.is_empty() {
        "it is empty"
    } else if !name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    {
        "only lower-case letters, digits and underscores may stand in it"
    } else if !name
        .split('_')
        .all(|word| word.starts_with(|first: char| first.is_ascii_lowercase()))
    {
        "each word between underscores must begin with a letter"
    } else {
        return Ok(());
    };
    Err(VariableError::Name {
        name: name.to_owned(),
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(toml: &str) -> BTreeMap<String, Declaration> {
        toml::from_str(toml).expect("the case is written rightly")
    }

    fn environment(name: &str) -> Result<String, VarError> {
        match name {
            "SPIN_VARIABLE_TOKEN" => Ok("from {{ the }} environment".into()),
            "SPIN_VARIABLE_EMPTY" => Ok(String::new()),
            "SPIN_VARIABLE_BYTES" => Err(VarError::NotUnicode("x".into())),
            _ => Err(VarError::NotPresent),
        }
    }

    #[track_caller]
    fn check_rendered(template: &str, expected: Result<&str, VariableError>) {
        let variables = Variables::resolve(
            declared("token = { required = true, secret = true }\nempty = { default = \"full\" }\nhost = { default = \"h\" }"),
            environment,
        )
        .expect("every variable has a value");
        assert_eq!(
            variables.render(template),
            expected.map(str::to_owned),
            "{template}"
        );
    }

    #[test]
    fn a_template_is_rendered_as_spin_renders_it() {
        check_rendered("", Ok(""));
        check_rendered("plain }} text }", Ok("plain }} text }"));
        check_rendered("{{host}}", Ok("h"));
        check_rendered("https://{{ host }}/{{\thost\n}}.", Ok("https://h/h."));
        check_rendered("{{ empty }}", Ok(""));
        check_rendered("{ { host } }", Ok("{ { host } }"));
        check_rendered("{{ token }}", Ok("from {{ the }} environment"));
        check_rendered("{{ host", Err(VariableError::Unclosed));
        check_rendered("{{ host }} {{", Err(VariableError::Unclosed));
        check_rendered("{{ nobody }}", Err(VariableError::Unknown("nobody".into())));
        check_rendered("{{}}", Err(VariableError::Unknown(String::new())));
        check_rendered("{{{ host }}}", Err(VariableError::Unknown("{ host".into())));
    }

    #[track_caller]
    fn check_refused(toml: &str, expected: &str) {
        let error = Variables::resolve(declared(toml), environment).expect_err("the case is wrong");
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_variable_without_a_value_is_told_by_name() {
        check_refused(
            "api_host = { required = true }",
            "variable \"api_host\" is required: set SPIN_VARIABLE_API_HOST",
        );
        check_refused(
            "a = {}",
            "variable \"a\" must be `required` or have a `default`, and not both",
        );
        check_refused(
            "a = { required = true, default = \"\" }",
            "variable \"a\" must be `required` or have a `default`, and not both",
        );
        check_refused(
            "bytes = { default = \"\" }",
            "the value in SPIN_VARIABLE_BYTES is not unicode",
        );
    }

    #[test]
    fn names_follow_the_rules_of_spin() {
        for name in ["a", "abc", "a1b2c3", "a_b", "a_b1_c3"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in [
            "", "aX", "1bc", "_x", "x.y", "x_", "a__b", "x-y", "a_1", "é",
        ] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn no_value_is_shown() {
        let variables = Variables::resolve(declared("token = { required = true }"), environment)
            .expect("it is set");
        assert_eq!(format!("{variables:?}"), "{\"token\"}");
    }
}
