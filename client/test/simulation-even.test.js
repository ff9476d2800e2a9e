// @ts-check
import { seeds } from "./simulation/seeds.js";

seeds(1);
