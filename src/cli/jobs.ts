import type { CommandModule } from "./command.ts";
import { changeCommands } from "./jobs-change.ts";
import { listCommand } from "./jobs-list.ts";
import { showCommand } from "./jobs-show.ts";

/** Look at jobs and steer them. */
export const jobs: CommandModule = (command, bind) => {
  command.description("Lists, shows, retries, cancels or removes jobs.").usage("<command> [options]");
  listCommand(command, bind);
  showCommand(command, bind);
  changeCommands(command, bind);
};
