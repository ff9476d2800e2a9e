//! A JavaScript engine, for scripts that are no page's own.

use rquickjs::context::EvalOptions;
use rquickjs::{CatchResultExt, CaughtError, Context, Ctx, Runtime};

use crate::Error;

/// The stack of a thread that runs scripts. `JSON.parse` of this engine descends into each level of its
/// text, of which a message can have 32,768.
pub(crate) const STACK: usize = 256 << 20;

/// A context of its own, for a thread with [`STACK`].
pub(crate) fn context() -> Result<Context, Error> {
    let context = || {
        let runtime = Runtime::new()?;
        // What the thread has is enough.
        runtime.set_max_stack_size(0);
        Context::full(&runtime)
    };
    context().map_err(|error: rquickjs::Error| Error::Script(error.to_string()))
}

/// Does something in a context; what it throws is the error.
pub(crate) fn run<T>(
    context: &Context,
    what: impl for<'js> FnOnce(&Ctx<'js>) -> rquickjs::Result<T>,
) -> Result<T, Error> {
    context.with(|ctx| {
        what(&ctx)
            .catch(&ctx)
            .map_err(|error: CaughtError<'_>| Error::Script(error.to_string()))
    })
}

/// Runs a script as a page's `<script>` runs: in the global scope, not strict.
pub(crate) fn evaluate(ctx: &Ctx<'_>, script: &str) -> rquickjs::Result<()> {
    let mut options = EvalOptions::default();
    options.strict = false;
    ctx.eval_with_options(script, options)
}
