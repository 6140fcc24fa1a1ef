// Reads an AsyncAPI document with the official parser: a line for each finding; exit code 1 for an error or warning.
import { readFileSync } from 'node:fs';
import { Parser } from '@asyncapi/parser';

const [SEVERE, WARNING] = [0, 1];
const text = readFileSync(process.argv[2], 'utf8');
const { document, diagnostics } = await new Parser().parse(text);
const names = ['error', 'warning', 'information', 'hint'];
for (const { severity, code, path, message } of diagnostics) {
  console.log(`${names[severity]}: ${path.join('/')}: ${code}: ${message}`);
}
const wrong = diagnostics.some(({ severity }) => severity === SEVERE || severity === WARNING);
if (document) {
  const [channels, operations, messages] = [document.channels(), document.operations(), document.allMessages()];
  console.log(`${channels.length} channels, ${operations.length} operations, ${messages.length} messages`);
}
process.exitCode = wrong || !document ? 1 : 0;
