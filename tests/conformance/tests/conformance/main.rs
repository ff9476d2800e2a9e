//! What the corpus of cases, which asks each transport the same, leaves over. One program: to link the host into
//! one for each file takes minutes.

mod credentials;
mod lasting;
mod malformed;
mod permissions;
mod policies;
mod rates;
mod retention;
mod rooms;
mod sharing;
mod standing;
