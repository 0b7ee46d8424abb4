export { repeat } from '@shoal/chassis';
