// Making elements. What comes from others is only ever set as text, never as HTML.

/** An element of the page; its id has a colon before this. */
export const $ = (id) => document.getElementById(`:${id}`);

/** An element with properties, and children that are elements or text. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

/** A picture out of the page's own, which a screen reader passes over. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(svg.namespaceURI, "use");
  use.setAttribute("href", `#:icon-${name}`);
  svg.append(use);
  return svg;
}

/** What took the place of a row that was made anew; of one that is gone, what it was in. */
const heirs = new WeakMap();

/**
 * A control, or what took its place if its row was made anew: its like there, or the first that there is; if the row is
 * gone, what it was in.
 */
export function heir(control) {
  let row = control;
  while (row.parentElement) row = row.parentElement;
  const made = heirs.get(row);
  if (control.isConnected || !made) return control;
  if (made.rowKey === undefined) return made;
  const like = made.getElementsByClassName(control.className)[0] ?? made.querySelector("a, button");
  return like && heir(like);
}

/**
 * Makes the children of `place` be those of `rows`, in order: each row has a `key`, and is made anew by `make` only
 * when its `version` differs. So nothing flickers, and what has the focus keeps it, or hands it to its heir or `place`.
 */
export function sync(place, rows, make) {
  const wanted = new Set(rows.map(({ key }) => key));
  // Before all else: what stays would have to be moved past what goes.
  for (const child of [...place.children]) {
    if (wanted.has(child.rowKey)) continue;
    const held = child.contains(document.activeElement);
    child.remove();
    heirs.set(child, place);
    if (held) place.focus();
  }
  const known = new Map(Array.from(place.children, (child) => [child.rowKey, child]));
  let at = place.firstElementChild;
  for (const row of rows) {
    let node = known.get(row.key);
    if (node?.rowVersion !== row.version) {
      const made = Object.assign(make(row), { rowKey: row.key, rowVersion: row.version });
      const held = node?.contains(document.activeElement) && document.activeElement;
      if (node === at) at = made;
      if (node) heirs.set(node, made);
      node?.replaceWith(made);
      node = made;
      if (held) (heir(held) ?? place).focus();
    }
    if (node === at) at = at.nextElementSibling;
    else place.insertBefore(node, at);
  }
}

/**
 * Lets the arrow keys move through what `find` gives, of which one has a place in the order of tabs. `columns`
 * tells how many stand in a row.
 */
export function rove(place, find, columns = () => 1) {
  place.addEventListener("keydown", (event) => {
    const all = find();
    const at = all.indexOf(document.activeElement);
    if (at < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    const wide = columns();
    const steps = { ArrowDown: wide, ArrowUp: -wide, Home: -at, End: all.length - 1 - at };
    if (wide > 1) Object.assign(steps, { ArrowRight: 1, ArrowLeft: -1 });
    const to = all[at + steps[event.key]];
    if (!(event.key in steps) || !to) return;
    event.preventDefault();
    tabTo(all, to);
    to.focus();
  });
}

/** Gives one of many the place in the order of tabs. */
export function tabTo(all, chosen) {
  for (const one of all) one.tabIndex = one === chosen ? 0 : -1;
}
