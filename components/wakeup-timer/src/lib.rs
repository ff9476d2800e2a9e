//! wakeup-timer
