//! policy-token
