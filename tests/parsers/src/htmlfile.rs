use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc::{Sender, channel};
use std::{mem, thread};

use html5ever::TokenizerResult;
use html5ever::buffer_queue::BufferQueue;
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{Tokenizer, TokenizerOpts};
use html5ever::tree_builder::{TreeBuilder, TreeBuilderOpts};
use markup5ever_rcdom::{Handle, NodeData, RcDom};
use rquickjs::function::{Exhaustive, Function};
use rquickjs::{Context, Object};

use crate::{Error, Parser, engine};

/// A document that grows, in a frame of a page, with its scripts run as they come.
///
/// It lives on a thread of its own: neither a document nor an engine can be sent to another one.
#[derive(Clone, Debug)]
pub struct Htmlfile {
    pieces: Sender<Piece>,
}

type Piece = (Vec<u8>, Sender<Result<Vec<String>, Error>>);

/// The window around the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Window {
    /// A page of the same origin, which has this function.
    Calls(String),
    /// A page of this origin, which listens to messages and whose functions cannot be called.
    Posts(String),
    /// None: the document is its own parent, and has this function and all others that scripts may call.
    Own(String),
}

impl Htmlfile {
    /// An empty document.
    #[must_use]
    pub fn new(window: Window) -> Self {
        let (sender, pieces) = channel::<Piece>();
        let run = move || {
            let mut document = Document::new(&window);
            for (bytes, answer) in pieces {
                let told = match &mut document {
                    Ok(document) => document.feed(&bytes),
                    Err(error) => Err(Error::Script(error.to_string())),
                };
                // Who does not wait for it has no use for it.
                let _ = answer.send(told);
            }
        };
        thread::Builder::new()
            .stack_size(engine::STACK)
            .spawn(run)
            .expect("a thread starts");
        Self { pieces: sender }
    }
}

impl Parser for Htmlfile {
    fn feed(&mut self, bytes: &[u8]) -> Result<Vec<String>, Error> {
        let (answer, told) = channel();
        self.pieces
            .send((bytes.to_vec(), answer))
            .expect("the document lives as long as this");
        told.recv().expect("the document answers")
    }
}

struct Document {
    /// Bytes of a character whose end is still to come.
    cut: Vec<u8>,
    text: BufferQueue,
    tokenizer: Tokenizer<TreeBuilder<Handle, RcDom>>,
    context: Context,
    told: Rc<RefCell<Vec<String>>>,
    written: Rc<RefCell<Vec<String>>>,
}

impl Document {
    fn new(window: &Window) -> Result<Self, Error> {
        let options = TreeBuilderOpts {
            scripting_enabled: true,
            ..TreeBuilderOpts::default()
        };
        let tree = TreeBuilder::new(RcDom::default(), options);
        let tokenizer = TokenizerOpts {
            // It would do so in every piece, where a browser does in the first one alone.
            discard_bom: false,
            ..TokenizerOpts::default()
        };
        let document = Self {
            cut: Vec::new(),
            text: BufferQueue::default(),
            tokenizer: Tokenizer::new(tree, tokenizer),
            context: engine::context()?,
            told: Rc::default(),
            written: Rc::default(),
        };
        document.furnish(window)?;
        Ok(document)
    }

    /// Gives scripts what they find in a browser.
    fn furnish(&self, window: &Window) -> Result<(), Error> {
        engine::run(&self.context, |ctx| {
            let own = ctx.globals();
            own.set("window", own.clone())?;
            own.set("self", own.clone())?;
            let parent = match window {
                Window::Own(_) => own.clone(),
                Window::Calls(_) | Window::Posts(_) => Object::new(ctx.clone())?,
            };
            own.set("parent", parent.clone())?;

            let document = Object::new(ctx.clone())?;
            let written = Rc::clone(&self.written);
            let write = move |text: String, _: Exhaustive| written.borrow_mut().push(text);
            document.set("write", Function::new(ctx.clone(), write)?)?;
            own.set("document", document)?;

            let told = Rc::clone(&self.told);
            match window {
                Window::Calls(name) | Window::Own(name) => {
                    let call = move |text: String, _: Exhaustive| told.borrow_mut().push(text);
                    parent.set(name.as_str(), Function::new(ctx.clone(), call)?)
                }
                Window::Posts(origin) => {
                    let origin = origin.clone();
                    let post = move |text: String, target: String, _: Exhaustive| {
                        // The browser drops what is for a page of another origin.
                        if target == origin {
                            told.borrow_mut().push(text);
                        }
                    };
                    parent.set("postMessage", Function::new(ctx.clone(), post)?)
                }
            }
        })
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<Vec<String>, Error> {
        let text = self.decode(bytes)?;
        self.text.push_back(StrTendril::from(text));
        loop {
            match self.tokenizer.feed(&self.text) {
                TokenizerResult::Done => break,
                TokenizerResult::EncodingIndicator(_) => {}
                TokenizerResult::Script(script) => {
                    let script = text_of(&script);
                    engine::run(&self.context, |ctx| engine::evaluate(ctx, &script))?;
                    // What a script writes stands behind it, before all that comes.
                    for text in self.written.take().into_iter().rev() {
                        self.text.push_front(StrTendril::from(text));
                    }
                }
            }
        }
        Ok(self.told.take())
    }

    fn decode(&mut self, bytes: &[u8]) -> Result<String, Error> {
        let mut bytes = [mem::take(&mut self.cut).as_slice(), bytes].concat();
        let whole = match str::from_utf8(&bytes) {
            Ok(text) => text.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(error) => return Err(error.into()),
        };
        self.cut = bytes.split_off(whole);
        Ok(str::from_utf8(&bytes)?.to_owned())
    }
}

/// The text in an element.
fn text_of(element: &Handle) -> String {
    let mut text = String::new();
    for child in element.children.borrow().iter() {
        if let NodeData::Text { contents } = &child.data {
            text += &contents.borrow();
        }
    }
    text
}
