/** The client as a script of the old kind: `<script src="…/sockeye.classic.js">` sets the global `Sockeye`. */

import { Sockeye } from './sockeye.js';

globalThis.Sockeye = Sockeye;
