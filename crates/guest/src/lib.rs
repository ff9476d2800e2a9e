//! What the components share: bindings, HTTP, the delivery driver
