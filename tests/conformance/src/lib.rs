//! One corpus of cases over every transport
