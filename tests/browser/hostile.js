// Bodies as JSON, each meant to break out of one framing or another.

export const HOSTILE = [
  String.raw`"</script><script>broken = true</script>"`,
  String.raw`"<!-- <script> --> <plaintext> ]]>"`,
  String.raw`{"text":"</script><img src=x onerror='broken = true'>"}`,
  "\"raw \u2028 and \u2029 in it\"",
  String.raw`"escaped \u2028 and \u2029, \u0000, \r\n, \t"`,
  String.raw`"'); broken = true; ('"`,
  String.raw`"\"} \\ \\' \\\" \\u2028 \/ end\\"`,
  String.raw`{"lone":["\ud800","\udfff x","\udc00\ud800"]}`,
  String.raw`{"text":"lone \ud800 there"}`,
  String.raw`{"__proto__":{"x":1}}`,
  String.raw`{"__proto__":{"text":"not a text"},"constructor":null}`,
  String.raw`{"a":"\n\ndata: {}\n\nevent: end\n\n"}`,
  String.raw`{"end":"reopen","heartbeat":true,"cursor":"x"}`,
  `"😀 שלום \u202e \ufeff"`,
  "{\"\":\"\"}",
  "\"\"",
  "[]",
  "null",
  "-0.5e-3",
];

/** The longest that is taken, 65,536 bytes of JSON: once what compresses well, and once what does not. */
export const LONGEST = [
  `"${"a".repeat(65_534)}"`,
  `"${Array.from({ length: 65_534 }, (_, at) => String.fromCharCode(35 + ((at * at * 2_654_435_761) % 1_000_003) % 57)).join("")}"`,
];
