//! short-polling
