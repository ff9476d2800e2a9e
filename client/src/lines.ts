/** Takes text as it comes, and gives it back line by line: those that are whole by now, without their ends. */
export function lines(): (text: string) => string[] {
  let rest = "";
  return (text) => {
    const whole = (rest + text).split("\n");
    rest = whole.pop()!;
    return whole;
  };
}
