// What of node the agent uses, in a page.
export const process = { env: {}, stdin: null, stdout: { write: (line) => globalThis.report(line) }, exit: () => {} };

export const Buffer = {
  from(data, encoding) {
    if (encoding === "base64") return Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
    return { toString: () => btoa(String.fromCharCode(...data)) };
  },
};

Object.defineProperty(globalThis, "localStorage", { writable: true, value: undefined });
