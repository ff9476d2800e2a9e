// Which scripts may be added to the page: the server's own answers, for the transport that reads by scripts.
//
// The page's policy wants a say in every text that becomes a script's address, or HTML (Trusted Types). This is the
// only one that it admits, so neither the library nor a mistake can add anything else.

globalThis.trustedTypes?.createPolicy("default", {
  createScriptURL(address) {
    const { origin, pathname } = new URL(address, document.baseURI);
    return origin === location.origin && /^\/witter\/jsonp-[a-z]+$/.test(pathname) ? address : null;
  },
});
