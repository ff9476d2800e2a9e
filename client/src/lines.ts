/** Takes text as it comes, and gives it back line by line. */
export class Lines {
  private rest = "";

  /** The lines that are whole by now, without their ends. */
  feed(text: string): string[] {
    const lines = (this.rest + text).split("\n");
    this.rest = lines.pop()!;
    return lines;
  }

  /** Forgets what is not whole. */
  reset(): void {
    this.rest = "";
  }
}
