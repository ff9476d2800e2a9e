use std::cell::RefCell;
use std::rc::Rc;
use std::thread;

use rquickjs::Value;
use rquickjs::function::{Exhaustive, Function};

use crate::{Error, engine};

/// A page's own `JSON.parse`, which remembers its texts by what it made of them, and the function that the
/// page is called by.
const PAGE: &str = "(function (callback, tell) {
    globalThis.window = globalThis.self = globalThis;
    const parse = JSON.parse;
    const parsed = [];
    JSON.parse = function (text) {
        const value = parse.apply(JSON, arguments);
        parsed.push([value, text]);
        return value;
    };
    const names = callback.split('.');
    const last = names.pop();
    const owner = names.reduce((object, name) => object[name] ??= {}, globalThis);
    owner[last] = function (value) {
        const [, text] = parsed.find(([known]) => Object.is(known, value));
        if (arguments.length !== 1) throw new TypeError('more than one argument');
        tell(text);
    };
})";

/// The JSON text of what a script calls the page's function with, once.
///
/// # Errors
/// Where the script throws, or calls the page never or twice, or with something that it did not parse.
pub fn jsonp(script: &[u8], callback: &str) -> Result<String, Error> {
    let script = str::from_utf8(script)?;
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .stack_size(engine::STACK)
            .spawn_scoped(scope, || run(script, callback))
            .expect("a thread starts");
        thread.join().expect("the engine does not panic")
    })
}

fn run(script: &str, callback: &str) -> Result<String, Error> {
    let told = Rc::new(RefCell::new(Vec::new()));
    let context = engine::context()?;
    engine::run(&context, |ctx| {
        let page: Function<'_> = ctx.eval(PAGE)?;
        let tell = Rc::clone(&told);
        let tell = Function::new(ctx.clone(), move |text: String, _: Exhaustive| {
            tell.borrow_mut().push(text);
        })?;
        page.call::<_, Value<'_>>((callback, tell))?;
        engine::evaluate(ctx, script)
    })?;
    let told = told.take();
    match <[String; 1]>::try_from(told) {
        Ok([text]) => Ok(text),
        Err(told) => Err(Error::Calls(told.len())),
    }
}
