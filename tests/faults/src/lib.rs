//! Kills, cuts and broken stores against the built host
