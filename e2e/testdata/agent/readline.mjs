// Lines of input come from the test.
export const createInterface = () => ({
  on(event, take) {
    if (event === "line") globalThis.command = take;
    return this;
  },
});
