//! What Redis answers, without its nesting: lists in lists come as one list.

use crate::bindings::fermyon::spin::redis as blocking;
use crate::bindings::spin::redis::redis as concurrent;

/// One value of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing there.
    Nil,
    /// A word of Redis itself, such as `OK`.
    Status(String),
    /// An integer.
    Int(i64),
    /// What is stored.
    Bytes(Vec<u8>),
}

impl Value {
    /// A stored value, or that there is none; none for what is neither.
    #[must_use]
    pub fn stored(self) -> Option<Option<Vec<u8>>> {
        match self {
            Self::Nil => Some(None),
            Self::Bytes(bytes) => Some(Some(bytes)),
            Self::Status(_) | Self::Int(_) => None,
        }
    }
}

impl From<blocking::RedisResult> for Value {
    fn from(result: blocking::RedisResult) -> Self {
        match result {
            blocking::RedisResult::Nil => Self::Nil,
            blocking::RedisResult::Status(status) => Self::Status(status),
            blocking::RedisResult::Int64(value) => Self::Int(value),
            blocking::RedisResult::Binary(bytes) => Self::Bytes(bytes),
        }
    }
}

impl From<concurrent::RedisResult> for Value {
    fn from(result: concurrent::RedisResult) -> Self {
        match result {
            concurrent::RedisResult::Nil => Self::Nil,
            concurrent::RedisResult::Status(status) => Self::Status(status),
            concurrent::RedisResult::Int64(value) => Self::Int(value),
            concurrent::RedisResult::Binary(bytes) => Self::Bytes(bytes),
        }
    }
}
