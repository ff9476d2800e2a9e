//! long-polling
